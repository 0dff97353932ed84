using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.CustomResources;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Api.Http.Tables;

/// <summary>Columns from a definition's <c>additionalPrinterColumns</c>.</summary>
internal static class CustomColumns
{
    public static IReadOnlyList<Column> Of(CustomVersion custom)
    {
        if (custom.Columns.Count == 0) return [BuiltInColumns.Name, BuiltInColumns.Age];
        return [BuiltInColumns.Name, .. custom.Columns.Select(One)];
    }

    private static Column One(JsonObject column)
    {
        var path = column.Text("jsonPath") ?? "";
        var type = column.Text("type") ?? "string";
        return new Column(column.Text("name") ?? "", type, (int)(column.Number("priority") ?? 0), column.Text("description") is { Length: > 0 } about ? about : $"Custom resource definition column (in JSONPath format): {path}",
            (o, now) => Cell(JsonPath.Select(o, path), type, now))
        {
            Format = column.Text("format") ?? "",
        };
    }

    private static JsonNode? Cell(List<JsonNode?> found, string type, DateTimeOffset now)
    {
        if (found.Count == 0) return null;
        var first = found[0];
        switch (type)
        {
            case "integer":
                return first.Number() is { } number ? JsonTree.Number(number) : null;
            case "number" or "boolean":
                return JsonTree.CopyNode(first);
            case "date":
                return first.Text() is { } time ? JsonValue.Create(Cells.Age(time, now)) : null;
            default:
                return JsonValue.Create(string.Join(",", found.Select(Shown)));
        }
    }

    private static string Shown(JsonNode? node) => node switch
    {
        null => "",
        JsonValue v when v.GetValueKind() == JsonValueKind.String => v.ToString(),
        _ => node.ToJsonString(),
    };
}

/// <summary>The JSONPath that definitions use: fields, indexes, <c>[*]</c>, quoted names and <c>[?(@.a=="b")]</c>.</summary>
internal static class JsonPath
{
    public static List<JsonNode?> Select(JsonNode? root, string path)
    {
        List<JsonNode?> nodes = [root];
        var i = 0;
        while (i < path.Length)
        {
            if (path[i] == '.')
            {
                var end = i + 1;
                while (end < path.Length && path[end] is not ('.' or '['))
                {
                    if (path[end] == '\\') end++;
                    end++;
                }
                var name = path[(i + 1)..Math.Min(end, path.Length)].Replace("\\", "", StringComparison.Ordinal);
                i = end;
                if (name.Length > 0) nodes = name == "*" ? Children(nodes) : Field(nodes, name);
            }
            else if (path[i] == '[')
            {
                var end = Closing(path, i);
                nodes = Bracket(nodes, path[(i + 1)..end]);
                i = end + 1;
            }
            else
            {
                return [];
            }
        }
        return nodes;
    }

    private static int Closing(string path, int open)
    {
        var depth = 0;
        for (var i = open; i < path.Length; i++)
        {
            if (path[i] == '[') depth++;
            else if (path[i] == ']' && --depth == 0) return i;
        }
        return path.Length - 1;
    }

    private static List<JsonNode?> Field(List<JsonNode?> nodes, string name) =>
        [.. nodes.OfType<JsonObject>().Where(o => o.ContainsKey(name)).Select(o => o[name])];

    private static List<JsonNode?> Children(List<JsonNode?> nodes) =>
        [.. nodes.SelectMany(n => n switch { JsonArray a => a, JsonObject o => o.Select(p => p.Value), _ => (IEnumerable<JsonNode?>)[] })];

    private static List<JsonNode?> Bracket(List<JsonNode?> nodes, string inside)
    {
        if (inside == "*") return Children(nodes);
        if (inside.StartsWith("?(", StringComparison.Ordinal)) return [.. Children(nodes).Where(n => Holds(n, inside[2..^1]))];
        if (inside.Length > 1 && inside[0] is '\'' or '"') return Field(nodes, inside[1..^1]);
        if (!int.TryParse(inside, out var index)) return [];
        return [.. nodes.OfType<JsonArray>().Select(a => (Array: a, Index: index < 0 ? a.Count + index : index)).Where(p => p.Index >= 0 && p.Index < p.Array.Count).Select(p => p.Array[p.Index])];
    }

    private static bool Holds(JsonNode? node, string condition)
    {
        foreach (var op in (string[])["==", "!="])
        {
            var at = condition.IndexOf(op, StringComparison.Ordinal);
            if (at < 0) continue;
            var left = condition[..at].Trim().TrimStart('@');
            var right = condition[(at + 2)..].Trim().Trim('"', '\'');
            var value = Select(node, left).FirstOrDefault();
            var text = value is JsonValue v && v.GetValueKind() == JsonValueKind.String ? v.ToString() : value?.ToJsonString();
            return text == right == (op == "==");
        }
        return Select(node, condition.Trim().TrimStart('@')).Count > 0;
    }
}
