using System.Globalization;
using System.Text.RegularExpressions;

namespace AmbientMesh.ControlPlane.Settings;

/// <summary>Durations as istiod's environment writes them: <c>100ms</c>, <c>10s</c>, <c>1h30m</c>, <c>0</c>.</summary>
internal static partial class GoDuration
{
    /// <summary>Reads a duration that is not negative.</summary>
    public static bool TryParse(string text, out TimeSpan duration)
    {
        duration = TimeSpan.Zero;
        if (text == "0") return true;
        if (!Whole().IsMatch(text)) return false;
        var seconds = 0.0;
        foreach (Match part in Part().Matches(text))
            seconds += double.Parse(part.Groups[1].Value, CultureInfo.InvariantCulture) * SecondsOf(part.Groups[2].Value);
        if (seconds > TimeSpan.MaxValue.TotalSeconds / 2) return false;
        duration = TimeSpan.FromSeconds(seconds);
        return true;
    }

    private static double SecondsOf(string unit) => unit switch
    {
        "h" => 3600,
        "m" => 60,
        "s" => 1,
        "ms" => 1e-3,
        "us" or "µs" => 1e-6,
        _ => 1e-9,
    };

    [GeneratedRegex(@"^(\d{1,12}(\.\d{1,9})?(h|ms|m|s|us|µs|ns)){1,8}$", RegexOptions.NonBacktracking)]
    private static partial Regex Whole();

    [GeneratedRegex(@"(\d{1,12}(?:\.\d{1,9})?)(h|ms|m|s|us|µs|ns)", RegexOptions.NonBacktracking)]
    private static partial Regex Part();
}
