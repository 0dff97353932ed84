using System.Globalization;
using System.Text;
using System.Text.Json;

namespace AmbientMesh.EndToEnd.Tests;

/// <summary>Keeps what each lifecycle cost: one JSON file per lifecycle in <c>artifacts/lifecycles</c>, and a table of all of them beside it.</summary>
internal static class LifecycleResults
{
    private static readonly string s_folder = Path.Combine(Samples.Root, "artifacts", "lifecycles");

    /// <summary>Writes one result.</summary>
    /// <param name="name">File name without ending.</param>
    /// <param name="what">One line for the table.</param>
    public static void Write(string name, string what, LoadCounts counts)
    {
        Directory.CreateDirectory(s_folder);
        var result = new Result(what, TimeProvider.System.GetUtcNow(), counts);
        File.WriteAllText(Path.Combine(s_folder, $"{name}.json"), JsonSerializer.Serialize(result, s_format));
        File.WriteAllText(Path.Combine(s_folder, "table.md"), Table());
    }

    private static readonly JsonSerializerOptions s_format = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    private static string Table()
    {
        var text = new StringBuilder("| under load | seconds | new: made | failed | reset | long-lived: opened | broken | longest pause |\n|---|---|---|---|---|---|---|---|\n");
        foreach (var file in Directory.EnumerateFiles(s_folder, "*.json").Order(StringComparer.Ordinal))
        {
            if (JsonSerializer.Deserialize<Result>(File.ReadAllText(file), s_format) is not { } result) continue;
            var c = result.Counts;
            text.AppendLine(CultureInfo.InvariantCulture, $"| {result.What} | {c.Seconds:F0} | {c.Made:N0} | {c.Failed} | {c.Reset} | {c.LongLivedOpened} | {c.LongLivedBroken} | {c.LongestPauseMs} ms |");
        }
        return text.ToString();
    }

    private sealed record Result(string What, DateTimeOffset At, LoadCounts Counts);
}
