using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace AmbientMesh.Lab.Api.CustomResources.Cel;

/// <summary>Functions of CEL and of Kubernetes' extension of it, as far as definitions use them.</summary>
internal static partial class CelFunctions
{
    private static readonly TimeSpan PatternLimit = TimeSpan.FromSeconds(1);

    /// <summary>Throws <see cref="CelException"/> for functions that are not here.</summary>
    public static object? Call(List<object?> a, string name, bool isMethod)
    {
        if (Url(a, name) is { } url) return url;
        return (name, a) switch
        {
            ("size", [string s]) => (long)s.EnumerateRunes().Count(),
            ("size", [List<object?> l]) => (long)l.Count,
            ("size", [JsonObject o]) => (long)o.Count,
            ("int", [long n]) => n,
            ("int", [double d]) => (long)d,
            ("int", [string s]) => long.TryParse(s, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var n) ? n : throw new CelException($"not a number: {s}"),
            ("double", [long n]) => (double)n,
            ("double", [string s]) => double.TryParse(s, CultureInfo.InvariantCulture, out var d) ? d : throw new CelException($"not a number: {s}"),
            ("string", [string s]) => s,
            ("string", [long n]) => n.ToString(CultureInfo.InvariantCulture),
            ("string", [bool b]) => b ? "true" : "false",
            ("bool", [string s]) => s == "true",
            ("type", _) => throw new CelException("type() is not evaluated"),
            ("dyn", [var any]) => any,
            ("duration", [string s]) => Durations.Parse(s) ?? throw new CelException($"not a duration: {s}"),
            ("duration", [TimeSpan t]) => t,
            ("timestamp", [string s]) => Objects.KubernetesTime.Parse(s) ?? throw new CelException($"not a time: {s}"),
            ("matches", [string s, string pattern]) => Matches(s, pattern),
            ("contains", [string s, string part]) => s.Contains(part, StringComparison.Ordinal),
            ("startsWith", [string s, string part]) => s.StartsWith(part, StringComparison.Ordinal),
            ("endsWith", [string s, string part]) => s.EndsWith(part, StringComparison.Ordinal),
            ("lowerAscii", [string s]) => s.ToLowerInvariant(),
            ("upperAscii", [string s]) => s.ToUpperInvariant(),
            ("trim", [string s]) => s.Trim(),
            ("replace", [string s, string from, string to]) => s.Replace(from, to, StringComparison.Ordinal),
            ("split", [string s, string by]) => s.Split(by).Select(p => (object?)p).ToList(),
            ("split", [string s, string by, long limit]) => s.Split(by, limit < 0 ? int.MaxValue : (int)limit).Select(p => (object?)p).ToList(),
            ("substring", [string s, long start]) => Substring(s, start, s.Length),
            ("substring", [string s, long start, long end]) => Substring(s, start, end),
            ("indexOf", [string s, string part]) => (long)s.IndexOf(part, StringComparison.Ordinal),
            ("lastIndexOf", [string s, string part]) => (long)s.LastIndexOf(part, StringComparison.Ordinal),
            ("charAt", [string s, long at]) => Substring(s, at, Math.Min(at + 1, s.Length)),
            ("join", [List<object?> l]) => string.Concat(l.Select(CelEvaluator.Text)),
            ("join", [List<object?> l, string by]) => string.Join(by, l.Select(CelEvaluator.Text)),
            ("isSorted", [List<object?> l]) => l.Zip(l.Skip(1)).All(p => string.CompareOrdinal(p.First as string, p.Second as string) <= 0),
            ("sum", [List<object?> l]) => l.OfType<long>().Sum(),
            ("min", [List<object?> l]) => l.OfType<long>().Min(),
            ("max", [List<object?> l]) => l.OfType<long>().Max(),
            ("find", [string s, string pattern]) => Regex.Match(s, Translate(pattern), RegexOptions.None, PatternLimit).Value,
            ("isIP", [string s]) => ParseIp(s) is not null,
            ("ip", [string s]) => ParseIp(s) ?? throw new CelException($"not an address: {s}"),
            ("family", [IPAddress ip]) => ip.AddressFamily == AddressFamily.InterNetwork ? 4L : 6L,
            ("isCIDR", [string s]) => IsRange(s),
            ("isURL", [string s]) => ParseUrl(s) is not null,
            ("url", [string s]) => ParseUrl(s) ?? throw new CelException($"not a URL: {s}"),
            _ => throw new CelException($"{(isMethod ? "." : "")}{name}() is not evaluated"),
        };
    }

    private static object? Url(List<object?> a, string name) => a is not [Uri url] ? null : name switch
    {
        "getScheme" => url.Scheme,
        "getHost" => url.IsDefaultPort ? url.Host : url.Authority,
        "getHostname" => url.Host,
        "getPort" => url.IsDefaultPort ? "" : url.Port.ToString(CultureInfo.InvariantCulture),
        "getEscapedPath" => url.AbsolutePath,
        _ => null,
    };

    private static Uri? ParseUrl(string text) => Uri.TryCreate(text, UriKind.Absolute, out var url) && text.Contains("://", StringComparison.Ordinal) ? url : null;

    private static IPAddress? ParseIp(string text) =>
        IPAddress.TryParse(text, out var ip) && (text.Contains(':', StringComparison.Ordinal) || text.Count(c => c == '.') == 3) && !text.Contains('%', StringComparison.Ordinal) ? ip : null;

    // Bits after the prefix may be set, as Go's netip.ParsePrefix has it.
    private static bool IsRange(string text) =>
        text.Split('/') is [var address, var length] && ParseIp(address) is { } ip && length.Length is > 0 and <= 3 && length.All(char.IsAsciiDigit) && (length[0] != '0' || length == "0")
        && int.Parse(length, CultureInfo.InvariantCulture) <= (ip.AddressFamily == AddressFamily.InterNetwork ? 32 : 128);

    private static string Substring(string s, long start, long end) =>
        start >= 0 && end >= start && end <= s.Length ? s[(int)start..(int)end] : throw new CelException("substring out of range");

    private static bool Matches(string text, string pattern)
    {
        try
        {
            return Regex.IsMatch(text, Translate(pattern), RegexOptions.CultureInvariant, PatternLimit);
        }
        catch (Exception e) when (e is ArgumentException or RegexMatchTimeoutException)
        {
            throw new CelException($"pattern {pattern}: {e.Message}");
        }
    }

    /// <summary>RE2's end of text is .NET's <c>\z</c>.</summary>
    public static string Translate(string pattern) => pattern.EndsWith('$') && !pattern.EndsWith("\\$", StringComparison.Ordinal) ? pattern[..^1] + "\\z" : pattern;
}

/// <summary>Durations as Go writes them: <c>1h30m</c>, <c>250ms</c>.</summary>
internal static partial class Durations
{
    [GeneratedRegex(@"\G(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")]
    private static partial Regex Part();

    public static TimeSpan? Parse(string text)
    {
        var negative = text.StartsWith('-');
        var body = text.TrimStart('-', '+');
        if (body == "0") return TimeSpan.Zero;
        if (body.Length == 0) return null;
        double ticks = 0;
        var at = 0;
        while (at < body.Length)
        {
            var match = Part().Match(body, at);
            if (!match.Success) return null;
            ticks += double.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture) * Unit(match.Groups[2].Value);
            at += match.Length;
        }
        return TimeSpan.FromTicks((long)(negative ? -ticks : ticks));
    }

    private static double Unit(string unit) => unit switch
    {
        "ns" => 0.01,
        "ms" => TimeSpan.TicksPerMillisecond,
        "s" => TimeSpan.TicksPerSecond,
        "m" => TimeSpan.TicksPerMinute,
        "h" => TimeSpan.TicksPerHour,
        _ => 10,
    };
}
