using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Schema;

namespace AmbientMesh.Lab.Api.Semantics.Patching;

/// <summary>
/// Kubernetes' strategic merge: lists with a merge key merge by it, others are replaced; directives <c>$patch</c>, <c>$retainKeys</c>,
/// <c>$deleteFromPrimitiveList/…</c> and <c>$setElementOrder/…</c>.
/// </summary>
internal static class StrategicMergePatch
{
    private const string Directive = "$patch";
    private const string RetainKeys = "$retainKeys";
    private const string DeleteFrom = "$deleteFromPrimitiveList/";
    private const string SetOrder = "$setElementOrder/";

    /// <summary>Applies <paramref name="patch"/> to <paramref name="target"/> in place and returns the result.</summary>
    public static JsonObject Apply(JsonObject target, JsonObject patch, SchemaType? type)
    {
        switch (patch.Text(Directive))
        {
            case "replace":
                var replacement = patch.Copy();
                replacement.Remove(Directive);
                return replacement;
            case "delete":
                return [];
        }
        if (patch.List(RetainKeys) is { } retained)
        {
            var keep = retained.Texts().ToHashSet(StringComparer.Ordinal);
            foreach (var name in target.Select(p => p.Key).Where(k => !keep.Contains(k)).ToList()) target.Remove(name);
        }
        foreach (var (name, value) in patch)
        {
            if (name is Directive or RetainKeys || name.StartsWith(SetOrder, StringComparison.Ordinal)) continue;
            if (name.StartsWith(DeleteFrom, StringComparison.Ordinal)) DeletePrimitives(target, name[DeleteFrom.Length..], value);
            else Merge(target, name, value, type?.ShapeOf(name), patch[SetOrder + name] as JsonArray);
        }
        foreach (var (name, order) in patch.Where(p => p.Key.StartsWith(SetOrder, StringComparison.Ordinal)).ToList())
            Order(target, name[SetOrder.Length..], order as JsonArray, type, patch[name[SetOrder.Length..]] as JsonArray);
        return target;
    }

    private static void DeletePrimitives(JsonObject target, string name, JsonNode? values)
    {
        if (target[name] is not JsonArray list || values is not JsonArray gone) return;
        target[name] = new JsonArray([.. list.Where(i => !gone.Any(g => JsonTree.Same(g, i))).Select(JsonTree.CopyNode)]);
    }

    private static void Merge(JsonObject target, string name, JsonNode? value, FieldShape? shape, JsonArray? order)
    {
        switch (value)
        {
            case null:
                target.Remove(name);
                break;
            case JsonObject child:
                var merged = Apply(target[name] is JsonObject existing ? existing.Copy() : [], child, shape?.Kind == ShapeKind.Struct ? shape.Type : ElementType(shape));
                if (child.Text(Directive) == "delete") target.Remove(name);
                else target[name] = Cleaned(merged);
                break;
            case JsonArray list when shape is { Kind: ShapeKind.List, MergesStrategically: true }:
                target[name] = shape.MergeKey is { } key
                    ? MergeObjects(target[name] as JsonArray ?? [], list, key, shape.Element?.Type, order)
                    : MergePrimitives(target[name] as JsonArray ?? [], list);
                break;
            case JsonArray list:
                target[name] = WithoutDirectives(list);
                break;
            default:
                target[name] = JsonTree.CopyNode(value);
                break;
        }
    }

    private static SchemaType? ElementType(FieldShape? shape) => shape is { Kind: ShapeKind.Map } ? shape.Element?.Type : null;

    private static JsonObject Cleaned(JsonObject o)
    {
        foreach (var name in o.Where(p => p.Value is null).Select(p => p.Key).ToList()) o.Remove(name);
        return o;
    }

    private static JsonArray WithoutDirectives(JsonArray list) =>
        new([.. list.Where(i => (i as JsonObject)?.ContainsKey(Directive) != true).Select(JsonTree.CopyNode)]);

    private static JsonArray MergePrimitives(JsonArray current, JsonArray patch)
    {
        var result = new JsonArray([.. current.Select(JsonTree.CopyNode)]);
        foreach (var item in patch)
            if (!result.Any(r => JsonTree.Same(r, item))) result.Add(JsonTree.CopyNode(item));
        return result;
    }

    private static JsonArray MergeObjects(JsonArray current, JsonArray patch, string key, SchemaType? type, JsonArray? order)
    {
        if (patch.OfType<JsonObject>().Any(p => p.Text(Directive) == "replace" && p.Count == 1)) return WithoutDirectives(patch);
        var items = current.OfType<JsonObject>().Select(o => o.Copy()).ToList();
        var added = new List<JsonObject>();
        foreach (var item in patch.OfType<JsonObject>())
        {
            if (item[key] is null && item.Text(Directive) is null)
                throw new ApiException(500, "InternalError", $"Internal error occurred: map: {item.ToJsonString()} does not contain declared merge key: {key}");
            var at = items.FindIndex(i => JsonTree.Same(i[key], item[key]));
            switch (item.Text(Directive))
            {
                case "delete":
                    if (at >= 0) items.RemoveAt(at);
                    break;
                case "replace":
                    var replacement = item.Copy();
                    replacement.Remove(Directive);
                    if (at >= 0) items[at] = replacement;
                    else added.Add(replacement);
                    break;
                default:
                    if (at >= 0) items[at] = Apply(items[at], item, type);
                    else added.Add(Apply([], item, type));
                    break;
            }
        }
        // Without an explicit order, items of the patch that are new come last; Kubernetes puts patched items first.
        return new JsonArray([.. Arrange([.. items, .. added], patch, key, order)]);
    }

    private static IEnumerable<JsonNode> Arrange(List<JsonObject> items, JsonArray patch, string key, JsonArray? order)
    {
        var reference = (order ?? patch).OfType<JsonObject>().Select(o => o[key]).ToList();
        var first = new List<JsonObject>();
        foreach (var wanted in reference)
            if (items.Find(i => JsonTree.Same(i[key], wanted)) is { } found && !first.Contains(found)) first.Add(found);
        var rest = items.Where(i => !first.Contains(i)).ToList();
        return order is null ? first.Concat(rest) : Interleave(items, first, rest);
    }

    /// <summary>Items the order names come in its order; the server's own others keep their place relative to their predecessor.</summary>
    private static IEnumerable<JsonNode> Interleave(List<JsonObject> items, List<JsonObject> ordered, List<JsonObject> others)
    {
        var result = ordered.ToList();
        foreach (var other in others)
        {
            var before = items.IndexOf(other) - 1;
            var at = before < 0 ? 0 : result.IndexOf(items[before]) + 1;
            result.Insert(at, other);
        }
        return result;
    }

    private static void Order(JsonObject target, string name, JsonArray? order, SchemaType? type, JsonArray? patched)
    {
        if (order is null || target[name] is not JsonArray list || patched is not null && type?.ShapeOf(name)?.MergeKey is not null) return;
        var key = type?.ShapeOf(name)?.MergeKey;
        if (key is not null)
        {
            var items = list.OfType<JsonObject>().Select(o => o.Copy()).ToList();
            target[name] = new JsonArray([.. Arrange(items, [], key, order)]);
            return;
        }
        var wanted = order.Select(JsonTree.CopyNode).Where(o => list.Any(i => JsonTree.Same(i, o))).ToList();
        var rest = list.Where(i => !order.Any(o => JsonTree.Same(i, o))).Select(JsonTree.CopyNode).ToList();
        target[name] = new JsonArray([.. wanted, .. rest]);
    }
}
