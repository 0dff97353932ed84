using System.Text.Json;
using System.Text.Json.Nodes;

namespace AmbientMesh.Lab.Api.Objects;

/// <summary>Reading and copying JSON objects by path; absent or differently typed values read as null.</summary>
public static class JsonTree
{
    /// <summary>A deep copy that shares nothing with its source and may be read by several threads.</summary>
    public static JsonObject Copy(this JsonObject source) => (JsonObject)CopyNode(source)!;

    public static JsonNode? CopyNode(JsonNode? node)
    {
        switch (node)
        {
            case null:
                return null;
            case JsonObject o:
                var result = new JsonObject();
                foreach (var (key, value) in o) result[key] = CopyNode(value);
                return result;
            case JsonArray array:
                var list = new JsonArray();
                foreach (var item in array) list.Add(CopyNode(item));
                return list;
            default:
                return CopyScalar((JsonValue)node);
        }
    }

    private static JsonValue? CopyScalar(JsonValue value) => value.GetValueKind() switch
    {
        JsonValueKind.String => JsonValue.Create(value.ToString()),
        JsonValueKind.True => JsonValue.Create(true),
        JsonValueKind.False => JsonValue.Create(false),
        JsonValueKind.Null => null,
        _ => value.TryGetValue<JsonElement>(out var element) ? JsonValue.Create(element) : Element(value.ToJsonString()),
    };

    private static JsonValue? Element(string json)
    {
        using var document = JsonDocument.Parse(json);
        return JsonValue.Create(document.RootElement.Clone());
    }

    /// <summary>A number readable as any numeric type.</summary>
    public static JsonNode Number(long value) => Element(value.ToString())!;

    /// <summary>The node below <paramref name="path"/>.</summary>
    public static JsonNode? At(this JsonNode? node, params ReadOnlySpan<string> path)
    {
        foreach (var name in path)
        {
            if (node is not JsonObject o || !o.TryGetPropertyValue(name, out node)) return null;
        }
        return node;
    }

    public static string? Text(this JsonNode? node, params ReadOnlySpan<string> path) =>
        node.At(path) is JsonValue v && v.GetValueKind() == JsonValueKind.String ? v.ToString() : null;

    /// <summary>An integer; null when absent or not integral.</summary>
    public static long? Number(this JsonNode? node, params ReadOnlySpan<string> path) =>
        node.At(path) is JsonValue v && v.GetValueKind() == JsonValueKind.Number && long.TryParse(v.ToJsonString(), out var number) ? number : null;

    public static bool? Flag(this JsonNode? node, params ReadOnlySpan<string> path) => (node.At(path) as JsonValue)?.GetValueKind() switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => null,
    };

    public static JsonObject? Map(this JsonNode? node, params ReadOnlySpan<string> path) => node.At(path) as JsonObject;

    public static JsonArray? List(this JsonNode? node, params ReadOnlySpan<string> path) => node.At(path) as JsonArray;

    /// <summary>The objects of a list; other items are skipped.</summary>
    public static IEnumerable<JsonObject> Objects(this JsonNode? node, params ReadOnlySpan<string> path) => node.List(path)?.OfType<JsonObject>() ?? [];

    /// <summary>The texts of a list; other items are skipped.</summary>
    public static IEnumerable<string> Texts(this JsonNode? node, params ReadOnlySpan<string> path) =>
        node.List(path)?.Select(i => i.Text()).OfType<string>() ?? [];

    /// <summary>The text values of an object, e.g. labels.</summary>
    public static Dictionary<string, string> TextMap(this JsonNode? node, params ReadOnlySpan<string> path) =>
        node.Map(path)?.Where(p => p.Value.Text() is not null).ToDictionary(p => p.Key, p => p.Value.Text()!, StringComparer.Ordinal) ?? [];

    /// <summary>The object below <paramref name="path"/>, made where missing (or where something else stood).</summary>
    public static JsonObject Ensure(this JsonObject node, params ReadOnlySpan<string> path)
    {
        foreach (var name in path)
        {
            if (node[name] is not JsonObject next) node[name] = next = [];
            node = next;
        }
        return node;
    }

    /// <summary>Sets <paramref name="name"/> when it is absent or null.</summary>
    public static void Default(this JsonObject node, string name, JsonNode? value)
    {
        if (node[name] is null) node[name] = value;
    }

    public static void Default(this JsonObject node, string name, long value)
    {
        if (node[name] is null) node[name] = Number(value);
    }

    public static bool Same(JsonNode? a, JsonNode? b) => JsonNode.DeepEquals(a, b);
}
