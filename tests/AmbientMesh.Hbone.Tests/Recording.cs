using System.Globalization;
using System.Text.RegularExpressions;
using AmbientMesh.Hbone.Hpack;
using AmbientMesh.Hbone.Http2;

namespace AmbientMesh.Hbone.Tests;

/// <summary>One line of a <c>*.frames.txt</c> recording with what belongs to it.</summary>
internal sealed record RecordedFrame(TimeSpan At, bool FromZtunnel, string Kind, int Stream, int Length, FrameFlags Flags, string Text)
{
    /// <summary>The whole frame with its header, where the recording has it in full.</summary>
    public byte[]? Bytes { get; set; }
    public List<HeaderField> Headers { get; } = [];
    public int Repeat { get; init; } = 1;
}

/// <summary>Reads recordings of decrypted HTTP/2 frames.</summary>
internal static partial class Recording
{
    [GeneratedRegex(@"^\s*(?<at>\d+\.\d+) (?<who>peer|ztunnel)->\s+(?<kind>\S+)(?: stream=(?<stream>\d+) len=(?<len>\d+) flags=0x(?<flags>[0-9a-f]{2}))?(?<text>.*)$", RegexOptions.ExplicitCapture)]
    private static partial Regex Line();

    [GeneratedRegex(@" x(?<count>\d+) identical", RegexOptions.ExplicitCapture)]
    private static partial Regex Repeated();

    public static List<RecordedFrame> Read(string relative)
    {
        var frames = new List<RecordedFrame>();
        foreach (var line in Samples.Text($"samples/ztunnel/{relative}").Split('\n'))
        {
            if (line.StartsWith('#')) continue;
            if (Line().Match(line) is { Success: true } match) frames.Add(Parse(match));
            else if (line.StartsWith("    hex ", StringComparison.Ordinal) && !line.Contains('…')) frames[^1].Bytes = Convert.FromHexString(line[8..].Trim());
            else if (line.StartsWith("      ", StringComparison.Ordinal) && line.LastIndexOf(": ", StringComparison.Ordinal) > 0) frames[^1].Headers.Add(ParseHeader(line.Trim('\r', '\n')[6..]));
        }
        return frames;
    }

    private static RecordedFrame Parse(Match match)
    {
        var text = match.Groups["text"].Value;
        return new RecordedFrame(
            TimeSpan.FromSeconds(double.Parse(match.Groups["at"].Value, CultureInfo.InvariantCulture)),
            match.Groups["who"].Value == "ztunnel",
            match.Groups["kind"].Value,
            match.Groups["stream"].Success ? int.Parse(match.Groups["stream"].Value, CultureInfo.InvariantCulture) : 0,
            match.Groups["len"].Success ? int.Parse(match.Groups["len"].Value, CultureInfo.InvariantCulture) : 0,
            match.Groups["flags"].Success ? (FrameFlags)Convert.ToByte(match.Groups["flags"].Value, 16) : FrameFlags.None,
            text)
        {
            Repeat = Repeated().Match(text) is { Success: true } r ? int.Parse(r.Groups["count"].Value, CultureInfo.InvariantCulture) : 1,
        };
    }

    private static HeaderField ParseHeader(string line)
    {
        var split = line.IndexOf(": ", 1, StringComparison.Ordinal);
        return new HeaderField(line[..split], line[(split + 2)..]);
    }
}
