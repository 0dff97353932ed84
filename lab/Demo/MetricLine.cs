using System.Text.RegularExpressions;

namespace AmbientMesh.Lab.Demo;

/// <summary>Shortens a line of metrics to the labels that matter for a proof.</summary>
internal static partial class MetricLine
{
    private static readonly string[] s_shown = ["reporter", "source_principal", "destination_principal", "destination_service", "connection_security_policy"];

    /// <summary><c>name{shown labels, …} value</c>.</summary>
    public static string Shorten(string line)
    {
        var (open, close) = (line.IndexOf('{', StringComparison.Ordinal), line.LastIndexOf('}'));
        if (open < 0 || close < open) return line;
        var labels = Label().Matches(line[open..close]).Where(m => s_shown.Contains(m.Groups[1].Value)).Select(m => m.Value);
        return $"{line[..open]}{{{string.Join(",", labels)},…}}{line[(close + 1)..]}";
    }

    [GeneratedRegex("([a-z_]+)=\"[^\"]*\"", RegexOptions.NonBacktracking)]
    private static partial Regex Label();
}
