using System.Globalization;
using AmbientMesh.Model;

namespace AmbientMesh.Ztunnel.Configuration;

/// <summary>Reads typed values from environment variables and collects every problem instead of stopping at the first.</summary>
internal sealed class EnvironmentReader(IReadOnlyDictionary<string, string> variables)
{
    private readonly List<string> _problems = [];

    public IReadOnlyList<string> Problems => _problems;

    public void Problem(string text) => _problems.Add(text);

    public string? Find(string name) => variables.TryGetValue(name, out var value) && value.Length > 0 ? value : null;

    public string Text(string name, string fallback) => Find(name) ?? fallback;

    public bool Flag(string name, bool fallback) => Find(name) switch
    {
        null => fallback,
        "true" or "True" or "TRUE" or "1" => true,
        "false" or "False" or "FALSE" or "0" => false,
        var other => Refused(name, other, "true or false", fallback),
    };

    public int Number(string name, int fallback, int min, int max) =>
        Find(name) is not { } text ? fallback
        : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value >= min && value <= max ? value
        : Refused(name, text, $"a number from {min} to {max}", fallback);

    public int? NumberOrNull(string name, int min, int max) => Find(name) is null ? null : Number(name, min, min, max);

    public TimeSpan Duration(string name, TimeSpan fallback) => DurationOrNull(name) ?? fallback;

    public TimeSpan Duration(string name, TimeSpan fallback, TimeSpan min, TimeSpan max) =>
        DurationOrNull(name) is not { } given ? fallback
        : given >= min && given <= max ? given
        : Refused(name, Find(name)!, $"a duration from {min.TotalSeconds:0.###}s to {max.TotalSeconds:0}s", fallback);

    public TimeSpan? DurationOrNull(string name)
    {
        if (Find(name) is not { } text) return null;
        if (GoDuration.TryParse(text, out var duration)) return duration;
        Refused<object?>(name, text, "a duration like 10s, 5m or 1h30m", null);
        return null;
    }

    /// <summary>An https address; the scheme may be left out. Present but empty means off (null).</summary>
    public Uri? Address(string name, string fallback)
    {
        if (!variables.TryGetValue(name, out var text)) text = fallback;
        if (text.Length == 0) return null;
        var full = text.Contains("://", StringComparison.Ordinal) ? text : $"https://{text}";
        if (Uri.TryCreate(full, UriKind.Absolute, out var uri) && uri.Scheme == "https" && uri.Host.Length > 0) return uri;
        return Refused<Uri?>(name, text, "host:port or https://host:port", null);
    }

    /// <summary>Every variable that begins with a prefix, with the rest of its name, sorted by name.</summary>
    public IEnumerable<KeyValuePair<string, string>> WithPrefix(string prefix) => variables
        .Where(pair => pair.Key.Length > prefix.Length && pair.Key.StartsWith(prefix, StringComparison.Ordinal))
        .OrderBy(pair => pair.Key, StringComparer.Ordinal)
        .Select(pair => new KeyValuePair<string, string>(pair.Key[prefix.Length..], pair.Value));

    private T Refused<T>(string name, string value, string expected, T fallback)
    {
        _problems.Add($"{name} is \"{value}\"; expected {expected}.");
        return fallback;
    }
}
