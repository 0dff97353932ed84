using System.Text.RegularExpressions;

namespace AmbientMesh.Kubernetes.Tests;

/// <summary>One request and its answer as recorded from a real API server.</summary>
/// <param name="Where">File and line of the request.</param>
/// <param name="Path">With its query.</param>
/// <param name="AnswerBody">Watch lines without their time marks.</param>
/// <param name="IsShortened">The recording cut the answer; what is there is readable.</param>
public sealed partial record RecordedExchange(
    string Where, string Method, string Path, IReadOnlyDictionary<string, string> RequestHeaders, string RequestBody,
    int Code, IReadOnlyDictionary<string, string> AnswerHeaders, string AnswerBody, bool IsShortened)
{
    public string AnswerType => AnswerHeaders.GetValueOrDefault("Content-Type", "");

    /// <summary>Every exchange of a recording; remarks, summaries and rules between them are passed over.</summary>
    public static IReadOnlyList<RecordedExchange> ReadAll(string name, string text)
    {
        var exchanges = new List<RecordedExchange>();
        var lines = text.Split('\n');
        for (var i = 0; i < lines.Length; i++)
        {
            if (RequestLine().Match(lines[i]) is not { Success: true } request) continue;
            var at = i + 1;
            var headers = Headers(lines, ref at);
            var body = Block(lines, ref at, isRequest: true);
            if (at >= lines.Length || AnswerLine().Match(lines[at]) is not { Success: true } answer) continue;   // a request without a recorded answer
            at++;
            var answerHeaders = Headers(lines, ref at);
            var answerBody = Block(lines, ref at, isRequest: false);
            exchanges.Add(new RecordedExchange(
                $"{name}:{i + 1}", request.Groups[1].Value, request.Groups[2].Value, headers, body,
                int.Parse(answer.Groups[1].Value), answerHeaders, Readable(answerBody), IsCut(answerBody)));
            i = at - 1;
        }
        return exchanges;
    }

    private static bool IsCut(string body) => Cut().IsMatch(body);

    // A cut JSON document is closed where it was cut; a cut watch line cannot be told from a broken one and is left out.
    private static string Readable(string body)
    {
        if (TimeMark().IsMatch(body)) return WithoutTimeMarks(body);
        return body.StartsWith('{') && Cut().Match(body) is { Success: true } cut ? ShortenedJson.Close(body[..cut.Index]) : body;
    }

    private static Dictionary<string, string> Headers(string[] lines, ref int at)
    {
        var headers = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        for (; at < lines.Length && lines[at].Length > 0 && !AnswerLine().IsMatch(lines[at]); at++)
            if (lines[at].IndexOf(':') is > 0 and var colon) headers[lines[at][..colon]] = lines[at][(colon + 1)..].Trim();
        return headers;
    }

    private static string Block(string[] lines, ref int at, bool isRequest)
    {
        var first = at;
        while (at < lines.Length && !(AnswerLine().IsMatch(lines[at]) || (!isRequest && Ends(lines[at])) || RequestLine().IsMatch(lines[at]))) at++;
        return string.Join('\n', lines[first..at]).Trim();
    }

    private static bool Ends(string line) =>
        line.StartsWith("=====", StringComparison.Ordinal) || line.StartsWith("-- ", StringComparison.Ordinal)
        || line.StartsWith("# ", StringComparison.Ordinal) || line.StartsWith("## ", StringComparison.Ordinal) || line.StartsWith("$ ", StringComparison.Ordinal);

    private static string WithoutTimeMarks(string body) =>
        string.Join("", body.Split('\n').Where(l => TimeMark().IsMatch(l) && !Cut().IsMatch(l)).Select(l => TimeMark().Replace(l, "")).Where(l => l.StartsWith('{')).Select(l => l + "\n"));

    [GeneratedRegex(@"(\n| )\.\.\. ?\((line )?shortened|\(body left out")]
    private static partial Regex Cut();

    [GeneratedRegex(@"^(GET|POST|PUT|PATCH|DELETE) (/\S*)( HTTP/1\.1)?$")]
    private static partial Regex RequestLine();

    [GeneratedRegex(@"^--> HTTP/1\.1 (\d{3})")]
    private static partial Regex AnswerLine();

    [GeneratedRegex(@"^\[\+[\d.]+s\] ", RegexOptions.Multiline)]
    private static partial Regex TimeMark();
}
