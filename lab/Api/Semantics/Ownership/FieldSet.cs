using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Api.Semantics.Ownership;

/// <summary>
/// A set of field paths in the form of <c>fieldsV1</c>: <c>f:NAME</c> a field, <c>k:{…}</c> a list item by its keys, <c>v:…</c> one by its value.
/// </summary>
internal sealed class FieldSet
{
    private readonly SortedDictionary<string, FieldSet> _children = new(StringComparer.Ordinal);

    /// <summary>The path that leads here is itself in the set.</summary>
    public bool IsMember { get; set; }

    public IEnumerable<KeyValuePair<string, FieldSet>> Children => _children;
    public bool IsEmpty => !IsMember && _children.Count == 0;

    /// <summary>The node below, made where missing.</summary>
    public FieldSet Under(string element)
    {
        if (!_children.TryGetValue(element, out var child)) _children[element] = child = new FieldSet();
        return child;
    }

    public FieldSet? Find(string element) => _children.GetValueOrDefault(element);

    public void Remove(string element) => _children.Remove(element);

    public FieldSet Union(FieldSet other)
    {
        var result = new FieldSet { IsMember = IsMember || other.IsMember };
        foreach (var (element, child) in _children) result._children[element] = other.Find(element) is { } also ? child.Union(also) : child.Union(new FieldSet());
        foreach (var (element, child) in other._children)
            if (!_children.ContainsKey(element)) result._children[element] = child.Union(new FieldSet());
        return result;
    }

    /// <summary>Paths of this set that are not in <paramref name="other"/>.</summary>
    public FieldSet Except(FieldSet other) => Combine(other, (mine, theirs) => mine && !theirs);

    /// <summary>Paths in both sets.</summary>
    public FieldSet Intersect(FieldSet other) => Combine(other, (mine, theirs) => mine && theirs);

    private FieldSet Combine(FieldSet other, Func<bool, bool, bool> keeps)
    {
        var result = new FieldSet { IsMember = keeps(IsMember, other.IsMember) };
        foreach (var (element, child) in _children)
        {
            var combined = child.Combine(other.Find(element) ?? Nothing, keeps);
            if (!combined.IsEmpty) result._children[element] = combined;
        }
        return result;
    }

    private static FieldSet Nothing { get; } = new();

    /// <summary>Every path, outermost first, as lists of elements.</summary>
    public IEnumerable<IReadOnlyList<string>> Paths()
    {
        foreach (var (element, child) in _children)
        {
            if (child.IsMember) yield return [element];
            foreach (var rest in child.Paths()) yield return [element, .. rest];
        }
    }

    public JsonObject ToJson()
    {
        var json = new JsonObject();
        if (IsMember && _children.Count > 0) json["."] = new JsonObject();
        foreach (var (element, child) in _children) json[element] = child.ToJson();
        return json;
    }

    public static FieldSet Parse(JsonObject? json)
    {
        var root = Parse(json, isRoot: true);
        root.IsMember = false;
        return root;
    }

    private static FieldSet Parse(JsonObject? json, bool isRoot)
    {
        var set = new FieldSet { IsMember = !isRoot && (json is null || json.Count == 0 || json.ContainsKey(".")) };
        foreach (var (element, child) in json ?? [])
            if (element != ".") set._children[element] = Parse(child as JsonObject, isRoot: false);
        return set;
    }

    public bool SameAs(FieldSet other) => JsonTree.Same(ToJson(), other.ToJson());

    /// <summary>A path as error messages show it: <c>.spec.ports[name="a"].port</c>.</summary>
    public static string Shown(IReadOnlyList<string> path)
    {
        var text = new System.Text.StringBuilder();
        foreach (var element in path)
        {
            var value = element[2..];
            switch (element[0])
            {
                case 'f':
                    text.Append('.').Append(value);
                    break;
                case 'k':
                    var keys = JsonNode.Parse(value) as JsonObject ?? [];
                    text.Append('[').AppendJoin(',', keys.Select(k => $"{k.Key}={k.Value?.ToJsonString()}")).Append(']');
                    break;
                default:
                    text.Append('[').Append(value).Append(']');
                    break;
            }
        }
        return text.ToString();
    }
}
