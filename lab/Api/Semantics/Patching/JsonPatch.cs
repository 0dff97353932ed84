using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Api.Semantics.Patching;

/// <summary>RFC 6902. A patch that does not apply is 422 without detail, as Kubernetes answers.</summary>
internal static class JsonPatch
{
    public static JsonObject Apply(JsonObject target, JsonArray operations)
    {
        JsonNode? root = target;
        foreach (var operation in operations)
        {
            if (operation is not JsonObject op || op.Text("path") is not { } path) throw ApiErrors.PatchDoesNotApply();
            root = One(root, op, path);
        }
        return root as JsonObject ?? throw ApiErrors.PatchDoesNotApply();
    }

    private static JsonNode? One(JsonNode? root, JsonObject op, string path)
    {
        switch (op.Text("op"))
        {
            case "add":
                return Put(root, path, JsonTree.CopyNode(Value(op)), insert: true);
            case "replace":
                Get(root, path);
                return Put(root, path, JsonTree.CopyNode(Value(op)), insert: false);
            case "remove":
                return Remove(root, path);
            case "move":
                var moved = JsonTree.CopyNode(Get(root, op.Text("from") ?? ""));
                return Put(Remove(root, op.Text("from")!), path, moved, insert: true);
            case "copy":
                return Put(root, path, JsonTree.CopyNode(Get(root, op.Text("from") ?? "")), insert: true);
            case "test":
                if (!JsonTree.Same(Get(root, path), Value(op))) throw ApiErrors.PatchDoesNotApply();
                return root;
            default:
                throw ApiErrors.PatchDoesNotApply();
        }
    }

    private static JsonNode? Value(JsonObject op) => op.TryGetPropertyValue("value", out var value) ? value : throw ApiErrors.PatchDoesNotApply();

    private static string[] Tokens(string path)
    {
        if (path.Length == 0) return [];
        if (path[0] != '/') throw ApiErrors.PatchDoesNotApply();
        return [.. path[1..].Split('/').Select(t => t.Replace("~1", "/", StringComparison.Ordinal).Replace("~0", "~", StringComparison.Ordinal))];
    }

    private static JsonNode? Get(JsonNode? node, string path)
    {
        foreach (var token in Tokens(path))
        {
            node = node switch
            {
                JsonObject o when o.TryGetPropertyValue(token, out var value) => value,
                JsonArray a when Index(token, a.Count) is { } i && i < a.Count => a[i],
                _ => throw ApiErrors.PatchDoesNotApply(),
            };
        }
        return node;
    }

    private static int? Index(string token, int count)
    {
        if (token == "-") return count;
        return int.TryParse(token, out var index) && index >= 0 && index <= count ? index : null;
    }

    private static JsonNode? Put(JsonNode? root, string path, JsonNode? value, bool insert)
    {
        var tokens = Tokens(path);
        if (tokens.Length == 0) return value;
        switch (Parent(root, tokens))
        {
            case JsonObject o:
                o[tokens[^1]] = value;
                return root;
            case JsonArray a when Index(tokens[^1], a.Count) is { } i:
                if (insert) a.Insert(i, value);
                else a[i] = value;
                return root;
            default:
                throw ApiErrors.PatchDoesNotApply();
        }
    }

    private static JsonNode? Remove(JsonNode? root, string path)
    {
        var tokens = Tokens(path);
        if (tokens.Length == 0) throw ApiErrors.PatchDoesNotApply();
        switch (Parent(root, tokens))
        {
            case JsonObject o when o.Remove(tokens[^1]):
                return root;
            case JsonArray a when Index(tokens[^1], a.Count) is { } i && i < a.Count:
                a.RemoveAt(i);
                return root;
            default:
                throw ApiErrors.PatchDoesNotApply();
        }
    }

    private static JsonNode? Parent(JsonNode? root, string[] tokens) =>
        Get(root, string.Concat(tokens[..^1].Select(t => "/" + t.Replace("~", "~0", StringComparison.Ordinal).Replace("/", "~1", StringComparison.Ordinal))));
}

/// <summary>RFC 7386.</summary>
internal static class MergePatch
{
    public static void Apply(JsonObject target, JsonObject patch)
    {
        foreach (var (name, value) in patch)
        {
            if (value is null) target.Remove(name);
            else if (value is JsonObject child && target[name] is JsonObject existing) Apply(existing, child);
            else if (value is JsonObject added) target[name] = WithoutNulls(added);
            else target[name] = JsonTree.CopyNode(value);
        }
    }

    private static JsonObject WithoutNulls(JsonObject o)
    {
        var result = new JsonObject();
        Apply(result, o);
        return result;
    }
}
