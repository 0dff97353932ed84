using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Schema;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.Semantics.Ownership;

/// <summary>metadata.managedFields: who set which field, and what follows for server-side apply.</summary>
internal static class FieldOwnership
{
    private static readonly string[] NeverOwned =
        ["name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds"];

    /// <summary>One manager's fields.</summary>
    private sealed record Entry(string Manager, string Operation, string ApiVersion, string Subresource, FieldSet Fields, string? Time)
    {
        public bool Is(string manager, string operation, string apiVersion, string subresource) =>
            Manager == manager && Operation == operation && ApiVersion == apiVersion && Subresource == subresource;
    }

    public static FieldShape ShapeOf(ApiResource resource) =>
        resource.Custom is { } custom ? custom.Shape
        : resource.Type is { } type ? new FieldShape { Kind = ShapeKind.Struct, Type = type } : FieldShape.Untyped;

    /// <summary>Records an ordinary write in <paramref name="now"/>: the manager owns what it changed, others lose that.</summary>
    public static void RecordUpdate(ApiResource resource, JsonObject? old, JsonObject now, WriteOptions options, string subresource, DateTimeOffset time)
    {
        if (options.IsApply) return;
        var sent = now.List("metadata", "managedFields");
        if (old is not null && sent is { Count: 1 } && sent[0] is JsonObject { Count: 0 })
        {
            now.Metadata().Remove("managedFields");
            return;
        }
        var entries = sent is { Count: > 0 } ? Read(now) : old is null ? [] : Read(old);
        var shape = ShapeOf(resource);
        var before = Bare(resource, old ?? [], subresource);
        var after = Bare(resource, now, subresource);
        var (added, modified, removed) = TypedWalk.Compare(before, after, shape);
        var changed = added.Union(modified);
        var stamp = KubernetesTime.Seconds(time);
        var apiVersion = resource.ApiVersion;
        var mine = entries.FirstOrDefault(e => e.Is(options.FieldManager, "Update", apiVersion, subresource));
        var fields = (mine?.Fields ?? new FieldSet()).Except(removed).Union(changed);
        var next = new List<Entry>();
        foreach (var entry in entries.Where(e => e != mine))
        {
            var left = entry.Fields.Except(changed).Except(removed);
            if (!left.IsEmpty || (entry.Operation == "Apply" && left.SameAs(entry.Fields))) next.Add(entry with { Fields = left });
        }
        if (!fields.IsEmpty)
            next.Add(mine is not null && fields.SameAs(mine.Fields) && changed.IsEmpty ? mine : new Entry(options.FieldManager, "Update", apiVersion, subresource, fields, stamp));
        Write(now, next);
    }

    /// <summary>
    /// The object after <paramref name="applied"/>. Throws 409 naming every field another manager holds with another value, unless forced.
    /// </summary>
    public static JsonObject Apply(ApiResource resource, JsonObject live, JsonObject applied, WriteOptions options, string subresource, DateTimeOffset time)
    {
        var shape = ShapeOf(resource);
        if (!resource.IsCustom && TypedWalk.UnknownField(applied, shape) is { } unknown)
            throw new ApiException(500, "", $"failed to create typed patch object ({applied.Namespace()}/{applied.Name()}; {(resource.Group.Length == 0 ? "/" : "")}{resource.ApiVersion}, Kind={resource.Kind}): {unknown}: field not declared in schema");
        var entries = Read(live);
        if (entries.Count == 0 && live.Uid().Length > 0)
            entries.Add(new Entry("before-first-apply", "Update", resource.ApiVersion, "", TypedWalk.FieldsOf(Bare(resource, live, ""), shape), KubernetesTime.Seconds(time)));
        var mine = entries.FirstOrDefault(e => e.Is(options.FieldManager, "Apply", resource.ApiVersion, subresource));
        var fields = TypedWalk.FieldsOf(Bare(resource, applied, subresource, keepsZero: true), shape);

        var config = applied.Copy();
        if (subresource.Length > 0) foreach (var name in config.Select(p => p.Key).Where(k => k is not ("apiVersion" or "kind" or "status")).ToList()) config.Remove(name);
        var merged = (JsonObject)TypedWalk.Merge(live, config, shape)!;
        var others = entries.Where(e => e != mine).ToList();
        if (mine is not null)
        {
            var owned = others.Aggregate(fields, (all, e) => all.Union(e.Fields));
            TypedWalk.Remove(merged, shape, mine.Fields.Except(fields), owned);
        }
        var (added, modified, removed) = TypedWalk.Compare(Bare(resource, live, ""), Bare(resource, ObjectDecoding.Canonical(resource, merged), ""), shape);
        var touched = added.Union(modified);
        others = ResolveConflicts(others, touched, options.Force);
        var next = others.Select(e => e with { Fields = e.Fields.Except(removed) }).Where(e => !e.Fields.IsEmpty).ToList();
        var unchanged = mine is not null && mine.Fields.SameAs(fields) && touched.IsEmpty && removed.IsEmpty;
        next.Add(unchanged ? mine! : new Entry(options.FieldManager, "Apply", resource.ApiVersion, subresource, fields, KubernetesTime.Seconds(time)));
        Write(merged, next);
        return merged;
    }

    private static List<Entry> ResolveConflicts(List<Entry> others, FieldSet touched, bool force)
    {
        var conflicts = others.Select(e => (Entry: e, Fields: e.Fields.Intersect(touched))).Where(c => !c.Fields.IsEmpty).ToList();
        if (conflicts.Count == 0) return others;
        if (force) return [.. others.Select(e => e with { Fields = e.Fields.Except(touched) })];
        var causes = new JsonArray();
        var texts = new List<string>();
        var count = 0;
        foreach (var (entry, fields) in conflicts)
        {
            var by = FieldError.Quote(entry.Manager) + (entry.Operation == "Update" ? $" using {entry.ApiVersion}" : "") + (entry.Subresource.Length > 0 ? $" with subresource {FieldError.Quote(entry.Subresource)}" : "");
            var paths = fields.Paths().Select(FieldSet.Shown).ToList();
            count += paths.Count;
            foreach (var path in paths) causes.Add(new JsonObject { ["reason"] = "FieldManagerConflict", ["message"] = $"conflict with {by}", ["field"] = path });
            texts.Add(paths.Count == 1 ? $"conflict with {by}: {paths[0]}" : $"conflicts with {by}:\n{string.Join('\n', paths.Select(p => $"- {p}"))}");
        }
        throw new ApiException(409, "Conflict", $"Apply failed with {count} conflict{(count == 1 ? "" : "s")}: {string.Join('\n', texts)}", new JsonObject { ["causes"] = causes });
    }

    /// <summary>The object without what nobody owns, in canonical form, with the parts this path cannot write left out.</summary>
    private static JsonObject Bare(ApiResource resource, JsonObject o, string subresource, bool keepsZero = false)
    {
        var bare = keepsZero || resource.Type is null ? o.Copy() : CanonicalForm.Of(o, resource.Type);
        bare.Remove("apiVersion");
        bare.Remove("kind");
        var metadata = bare.Ensure("metadata");
        foreach (var name in NeverOwned) metadata.Remove(name);
        if (subresource == "status")
        {
            foreach (var name in bare.Select(p => p.Key).Where(k => k is not ("status" or "metadata")).ToList()) bare.Remove(name);
            if (resource.IsCustom || keepsZero) bare.Remove("metadata");
        }
        else if (subresource.Length == 0 && resource.HasStatus && (resource.Custom is null or { HasStatus: true }))
        {
            bare.Remove("status");
        }
        if (keepsZero && bare["metadata"] is JsonObject { Count: 0 }) bare.Remove("metadata");
        return bare;
    }

    private static List<Entry> Read(JsonObject o) =>
        [.. o.Objects("metadata", "managedFields").Select(e => new Entry(e.Text("manager") ?? "", e.Text("operation") ?? "", e.Text("apiVersion") ?? "",
            e.Text("subresource") ?? "", FieldSet.Parse(e.Map("fieldsV1")), e.Text("time")))];

    private static void Write(JsonObject o, List<Entry> entries)
    {
        if (entries.Count == 0)
        {
            o.Metadata().Remove("managedFields");
            return;
        }
        var sorted = entries.OrderBy(e => e.Operation, StringComparer.Ordinal).ThenBy(e => e.Time, StringComparer.Ordinal).ThenBy(e => e.Manager, StringComparer.Ordinal)
            .ThenBy(e => e.ApiVersion, StringComparer.Ordinal).ThenBy(e => e.Subresource, StringComparer.Ordinal);
        o.Metadata()["managedFields"] = new JsonArray([.. sorted.Select(ToJson)]);
    }

    private static JsonObject ToJson(Entry e)
    {
        var json = new JsonObject { ["manager"] = e.Manager, ["operation"] = e.Operation, ["apiVersion"] = e.ApiVersion, ["time"] = e.Time, ["fieldsType"] = "FieldsV1", ["fieldsV1"] = e.Fields.ToJson() };
        if (e.Subresource.Length > 0) json["subresource"] = e.Subresource;
        return json;
    }

    /// <summary>The object without the times of its managedFields, to tell whether a write changed anything.</summary>
    public static JsonObject WithoutTimes(JsonObject o)
    {
        if (o.List("metadata", "managedFields") is null) return o;
        var copy = o.Copy();
        foreach (var entry in copy.Objects("metadata", "managedFields")) entry.Remove("time");
        return copy;
    }
}
