using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Schema;

namespace AmbientMesh.Lab.Api.Semantics.Ownership;

/// <summary>Walks objects by their schema: which fields one sets, in which two differ, merging, removing.</summary>
internal static class TypedWalk
{
    /// <summary>Every field <paramref name="o"/> sets.</summary>
    public static FieldSet FieldsOf(JsonObject o, FieldShape shape)
    {
        var set = new FieldSet();
        Collect(o, shape, set);
        return set;
    }

    private static void Collect(JsonNode? value, FieldShape shape, FieldSet at)
    {
        if (IsLeaf(value, shape))
        {
            at.IsMember = true;
            return;
        }
        switch (value)
        {
            case JsonObject o:
                foreach (var (name, child) in o)
                {
                    var below = at.Under("f:" + name);
                    Collect(child, ShapeOf(shape, name), below);
                    if (child is null or JsonObject { Count: 0 } || !IsNamed(shape, name)) below.IsMember = true;
                    if (below.IsEmpty) at.Remove("f:" + name);
                }
                break;
            case JsonArray list:
                foreach (var (element, item) in Items(list, shape))
                {
                    var below = at.Under(element);
                    if (item is JsonObject or JsonArray) Collect(item, shape.Element ?? FieldShape.Untyped, below);
                    below.IsMember = true;
                }
                break;
        }
    }

    /// <summary>Differences of two objects: fields only in the second, changed, only in the first.</summary>
    public static (FieldSet Added, FieldSet Modified, FieldSet Removed) Compare(JsonObject before, JsonObject after, FieldShape shape)
    {
        var (added, modified, removed) = (new FieldSet(), new FieldSet(), new FieldSet());
        Compare(before, after, shape, added, modified, removed);
        return (added, modified, removed);
    }

    private static void Compare(JsonNode? before, JsonNode? after, FieldShape shape, FieldSet added, FieldSet modified, FieldSet removed)
    {
        if (!IsContainer(before ?? after, shape) || !IsContainer(after ?? before, shape))
        {
            if (!JsonTree.Same(before, after)) modified.IsMember = true;
            return;
        }
        if (before is JsonObject or null && after is JsonObject or null)
        {
            var a = before as JsonObject ?? [];
            var b = after as JsonObject ?? [];
            foreach (var name in a.Select(p => p.Key).Union(b.Select(p => p.Key), StringComparer.Ordinal).ToList())
                One("f:" + name, a.ContainsKey(name), a[name], b.ContainsKey(name), b[name], ShapeOf(shape, name), added, modified, removed);
            return;
        }
        var left = Items(before as JsonArray ?? [], shape).ToDictionary(i => i.Element, i => i.Item, StringComparer.Ordinal);
        var right = Items(after as JsonArray ?? [], shape).ToDictionary(i => i.Element, i => i.Item, StringComparer.Ordinal);
        foreach (var element in left.Keys.Union(right.Keys, StringComparer.Ordinal))
            One(element, left.ContainsKey(element), left.GetValueOrDefault(element), right.ContainsKey(element), right.GetValueOrDefault(element),
                shape.Element ?? FieldShape.Untyped, added, modified, removed);
    }

    private static void One(string element, bool isBefore, JsonNode? before, bool isAfter, JsonNode? after, FieldShape shape, FieldSet added, FieldSet modified, FieldSet removed)
    {
        if (isBefore && isAfter)
        {
            var (a, m, r) = (added.Under(element), modified.Under(element), removed.Under(element));
            Compare(before, after, shape, a, m, r);
            foreach (var (set, child) in (IEnumerable<(FieldSet, FieldSet)>)[(added, a), (modified, m), (removed, r)])
                if (child.IsEmpty) set.Remove(element);
            return;
        }
        Whole(isAfter ? after : before, shape, (isAfter ? added : removed).Under(element));
    }

    /// <summary>The value with every container and leaf in it.</summary>
    private static void Whole(JsonNode? value, FieldShape shape, FieldSet at)
    {
        at.IsMember = true;
        if (IsLeaf(value, shape)) return;
        switch (value)
        {
            case JsonObject o:
                foreach (var (name, child) in o) Whole(child, ShapeOf(shape, name), at.Under("f:" + name));
                break;
            case JsonArray list:
                foreach (var (element, item) in Items(list, shape)) Whole(item, shape.Element ?? FieldShape.Untyped, at.Under(element));
                break;
        }
    }

    /// <summary>Applies <paramref name="config"/> over <paramref name="live"/>: maps and keyed lists merge, all else is replaced.</summary>
    public static JsonNode? Merge(JsonNode? live, JsonNode? config, FieldShape shape)
    {
        if (config is null || live is null || !IsContainer(config, shape) || !IsContainer(live, shape) || live.GetValueKind() != config.GetValueKind()) return JsonTree.CopyNode(config);
        if (config is JsonObject o)
        {
            var merged = ((JsonObject)live).Copy();
            foreach (var (name, value) in o) merged[name] = Merge(merged[name], value, ShapeOf(shape, name));
            return merged;
        }
        var result = Items((JsonArray)live, shape).Select(i => (i.Element, Item: JsonTree.CopyNode(i.Item))).ToList();
        foreach (var (element, item) in Items((JsonArray)config, shape))
        {
            var at = result.FindIndex(r => r.Element == element);
            if (at < 0) result.Add((element, JsonTree.CopyNode(item)));
            else result[at] = (element, Merge(result[at].Item, item, shape.Element ?? FieldShape.Untyped));
        }
        return new JsonArray([.. result.Select(r => r.Item)]);
    }

    /// <summary>Takes the fields of <paramref name="gone"/> out of <paramref name="value"/>, keeping what <paramref name="owned"/> names.</summary>
    public static void Remove(JsonNode? value, FieldShape shape, FieldSet gone, FieldSet owned)
    {
        switch (value)
        {
            case JsonObject o:
                foreach (var (element, below) in gone.Children)
                {
                    var name = element[2..];
                    if (element[0] != 'f' || !o.ContainsKey(name)) continue;
                    var others = owned.Find(element);
                    if (below.IsMember && (others is null || others.IsEmpty)) o.Remove(name);
                    else Remove(o[name], ShapeOf(shape, name), below, others ?? new FieldSet());
                    if (o[name] is JsonArray { Count: 0 } && (others is null || others.IsEmpty)) o.Remove(name);
                }
                break;
            case JsonArray list:
                var items = Items(list, shape).ToList();
                for (var i = items.Count - 1; i >= 0; i--)
                {
                    if (gone.Find(items[i].Element) is not { } below) continue;
                    var others = owned.Find(items[i].Element);
                    if (below.IsMember && (others is null || others.IsEmpty)) list.RemoveAt(i);
                    else Remove(list[i], shape.Element ?? FieldShape.Untyped, below, others ?? new FieldSet());
                }
                break;
        }
    }

    /// <summary>Fields the schema does not have; null when there are none.</summary>
    public static string? UnknownField(JsonNode? value, FieldShape shape, string path = "")
    {
        switch (value)
        {
            case JsonObject o when shape is { Kind: ShapeKind.Struct }:
                foreach (var (name, child) in o)
                {
                    if (shape.Type!.ShapeOf(name) is not { } next) return $"{path}.{name}";
                    if (UnknownField(child, next, $"{path}.{name}") is { } unknown) return unknown;
                }
                return null;
            case JsonObject o when shape is { Kind: ShapeKind.Map }:
                return o.Select(p => UnknownField(p.Value, shape.Element!, $"{path}.{p.Key}")).FirstOrDefault(u => u is not null);
            case JsonArray list when shape is { Kind: ShapeKind.List }:
                return Items(list, shape).Select(i => UnknownField(i.Item, shape.Element!, path + FieldSet.Shown([i.Element]))).FirstOrDefault(u => u is not null);
            default:
                return null;
        }
    }

    private static bool IsLeaf(JsonNode? value, FieldShape shape) => value switch
    {
        null => true,
        JsonObject o => o.Count == 0 || shape.IsAtomic || shape.Kind is not (ShapeKind.Struct or ShapeKind.Map or ShapeKind.Untyped),
        JsonArray => shape.Kind != ShapeKind.List || shape.Ownership == ListOwnership.Atomic,
        _ => true,
    };

    /// <summary>A map or list whose parts are owned one by one, even when it is empty now.</summary>
    private static bool IsContainer(JsonNode? value, FieldShape shape) => value switch
    {
        JsonObject => !shape.IsAtomic && shape.Kind is (ShapeKind.Struct or ShapeKind.Map or ShapeKind.Untyped),
        JsonArray => shape is { Kind: ShapeKind.List } && shape.Ownership != ListOwnership.Atomic,
        _ => false,
    };

    private static bool IsNamed(FieldShape shape, string name) => shape.Kind == ShapeKind.Struct && shape.Type!.Find(name) is not null;

    private static FieldShape ShapeOf(FieldShape shape, string name) => shape.Kind switch
    {
        ShapeKind.Struct => shape.Type!.ShapeOf(name) ?? FieldShape.Untyped,
        ShapeKind.Map => shape.Element ?? FieldShape.Untyped,
        _ => FieldShape.Untyped,
    };

    /// <summary>List items with the path element that tells each apart; a repeated one counts once.</summary>
    private static IEnumerable<(string Element, JsonNode? Item)> Items(JsonArray list, FieldShape shape)
    {
        var seen = new HashSet<string>(StringComparer.Ordinal);
        for (var i = 0; i < list.Count; i++)
        {
            var element = shape.Ownership switch
            {
                ListOwnership.Set => "v:" + (list[i]?.ToJsonString(Http.Responses.Json) ?? "null"),
                ListOwnership.Map => "k:" + Key(list[i], shape),
                _ => $"i:{i}",
            };
            if (seen.Add(element)) yield return (element, list[i]);
        }
    }

    private static string Key(JsonNode? item, FieldShape shape)
    {
        var key = new JsonObject();
        foreach (var name in shape.Keys.Order(StringComparer.Ordinal))
        {
            // Keys of built-in lists that may be left out have one default: the protocol.
            var value = item.At(name) ?? (name == "protocol" ? JsonValue.Create("TCP") : null);
            if (value is not null) key[name] = JsonTree.CopyNode(value);
        }
        return key.ToJsonString(Http.Responses.Json);
    }
}
