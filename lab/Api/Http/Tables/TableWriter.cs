using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Api.Http.Tables;

/// <summary>One column of a table.</summary>
/// <param name="Priority">0 always shown, 1 only in wide output.</param>
internal sealed record Column(string Name, string Type, int Priority, string Description, Func<JsonObject, DateTimeOffset, JsonNode?> Cell)
{
    public string Format { get; init; } = "";
}

/// <summary>Objects as the table <c>kubectl get</c> prints.</summary>
internal static class TableWriter
{
    public static JsonObject Of(RequestContext c, IReadOnlyList<JsonObject> objects, string? resourceVersion)
    {
        var columns = ColumnsOf(c.View.Requested);
        var now = c.Store.Clock.GetUtcNow();
        var include = c.Query("includeObject") ?? "Metadata";
        var rows = new JsonArray();
        foreach (var o in objects)
        {
            var row = new JsonObject { ["cells"] = new JsonArray([.. columns.Select(k => k.Cell(o, now))]) };
            if (PodColumns.IsFinished(c.View.Requested, o) is { } condition) row["conditions"] = new JsonArray(condition);
            row["object"] = include switch { "None" => null, "Object" => o.Copy(), _ => PartialMetadata.Of(o) };
            rows.Add(row);
        }
        return new JsonObject
        {
            ["kind"] = "Table",
            ["apiVersion"] = "meta.k8s.io/v1",
            ["metadata"] = resourceVersion is null ? new JsonObject() : new JsonObject { ["resourceVersion"] = resourceVersion },
            ["columnDefinitions"] = new JsonArray([.. columns.Select(k => new JsonObject
            {
                ["name"] = k.Name, ["type"] = k.Type, ["format"] = k.Format, ["description"] = k.Description, ["priority"] = JsonTree.Number(k.Priority),
            })]),
            ["rows"] = rows,
        };
    }

    private static IReadOnlyList<Column> ColumnsOf(ApiResource resource)
    {
        if (resource.Custom is { } custom) return CustomColumns.Of(custom);
        return BuiltInColumns.All.GetValueOrDefault(resource.GroupResource) ?? BuiltInColumns.Plain;
    }
}

/// <summary>Cell texts shared by many kinds.</summary>
internal static class Cells
{
    public const string None = "<none>";
    public const string Unknown = "<unknown>";

    public static JsonNode? Of(string? text) => JsonValue.Create(text);

    public static string Age(string? timestamp, DateTimeOffset now) => KubernetesTime.Parse(timestamp) is { } then ? Duration(now - then) : Unknown;

    /// <summary>As kubectl shows ages: 4s, 5m30s, 3h5m, 2d3h, 30d, 2y5d.</summary>
    public static string Duration(TimeSpan d)
    {
        var seconds = (long)d.TotalSeconds;
        if (seconds < -1) return "<invalid>";
        if (seconds < 0) return "0s";
        if (seconds < 120) return $"{seconds}s";
        var minutes = seconds / 60;
        if (minutes < 10) return Two(minutes, "m", seconds % 60, "s");
        if (minutes < 180) return $"{minutes}m";
        var hours = minutes / 60;
        if (hours < 8) return Two(hours, "h", minutes % 60, "m");
        if (hours < 48) return $"{hours}h";
        if (hours < 192) return Two(hours / 24, "d", hours % 24, "h");
        if (hours < 24 * 365 * 2) return $"{hours / 24}d";
        return hours < 24 * 365 * 8 ? Two(hours / 24 / 365, "y", hours / 24 % 365, "d") : $"{hours / 24 / 365}y";
    }

    private static string Two(long a, string unitA, long b, string unitB) => b == 0 ? $"{a}{unitA}" : $"{a}{unitA}{b}{unitB}";

    public static string Joined(IEnumerable<string?> values, string empty = None)
    {
        var text = string.Join(",", values.Where(v => !string.IsNullOrEmpty(v)));
        return text.Length == 0 ? empty : text;
    }

    public static string Labels(JsonNode? map) => Joined(map.TextMap().OrderBy(p => p.Key, StringComparer.Ordinal).Select(p => $"{p.Key}={p.Value}"));

    /// <summary>A metav1.LabelSelector in its query form.</summary>
    public static string Selector(JsonObject? selector)
    {
        if (selector is null) return None;
        var parts = selector.TextMap("matchLabels").OrderBy(p => p.Key, StringComparer.Ordinal).Select(p => $"{p.Key}={p.Value}").ToList();
        foreach (var e in selector.Objects("matchExpressions"))
        {
            var values = string.Join(",", e.Texts("values"));
            parts.Add(e.Text("operator") switch
            {
                "In" => $"{e.Text("key")} in ({values})",
                "NotIn" => $"{e.Text("key")} notin ({values})",
                "DoesNotExist" => $"!{e.Text("key")}",
                _ => e.Text("key") ?? "",
            });
        }
        return parts.Count == 0 ? None : string.Join(",", parts);
    }

    public static string Containers(JsonObject? spec) => string.Join(",", spec.Objects("containers").Select(c => c.Text("name")));
    public static string Images(JsonObject? spec) => string.Join(",", spec.Objects("containers").Select(c => c.Text("image")));
}
