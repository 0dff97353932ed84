using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.Bootstrap;

/// <summary>Removes objects whose owners are gone: background, foreground and orphan propagation.</summary>
internal sealed class GarbageCollection(ClusterStore store)
{
    private readonly record struct Id(GroupResource Resource, string Namespace, string Name);

    private readonly Dictionary<string, HashSet<Id>> _dependents = new(StringComparer.Ordinal);

    public void Observe(Change change)
    {
        var id = new Id(change.Resource, change.Object.Namespace(), change.Object.Name());
        foreach (var uid in Owners(change.Before)) _dependents.GetValueOrDefault(uid)?.Remove(id);
        foreach (var uid in Owners(change.After))
        {
            if (!_dependents.TryGetValue(uid, out var set)) _dependents[uid] = set = [];
            set.Add(id);
        }
        if (change.After is null)
        {
            OwnerGone(change.Before!);
            foreach (var owner in change.Before!.OwnerReferences()) ContinueForeground(owner, change.Before!.Namespace());
            return;
        }
        if (change.After.IsTerminating()) Terminating(change.Resource, change.After);
        if (change.Before is null && change.After.OwnerReferences().Any() && !change.After.IsTerminating()) Collect(id);
        foreach (var owner in change.After.OwnerReferences()) if (change.After.IsTerminating()) ContinueForeground(owner, change.After.Namespace());
    }

    private static IEnumerable<string> Owners(JsonObject? o) => o?.OwnerReferences().Select(r => r.Text("uid") ?? "") ?? [];

    private List<Id> DependentsOf(string uid) => _dependents.TryGetValue(uid, out var set) ? [.. set] : [];

    private void OwnerGone(JsonObject owner)
    {
        foreach (var dependent in DependentsOf(owner.Uid())) Collect(dependent);
        _dependents.Remove(owner.Uid());
    }

    /// <summary>Deletes an object none of whose owners lives; drops dead references where another owner does.</summary>
    private void Collect(Id id)
    {
        if (store.TryGet(id.Resource, id.Namespace, id.Name) is not { } o || o.IsTerminating()) return;
        var references = o.OwnerReferences().ToList();
        if (references.Count == 0) return;
        var living = references.Where(r => Find(r, o.Namespace()) is not null).ToList();
        if (living.Count == references.Count) return;
        if (living.Count == 0)
        {
            var hasFinalizers = o.Finalizers().Contains("orphan") ? Propagation.Orphan : Propagation.Background;
            store.Delete(id.Resource, id.Namespace, id.Name, new DeleteOptions { Uid = o.Uid(), Propagation = hasFinalizers });
            return;
        }
        var kept = living.Select(r => r.Text("uid")).ToHashSet(StringComparer.Ordinal);
        DropReferences(id, r => !kept.Contains(r.Text("uid")));
    }

    private void DropReferences(Id id, Func<JsonObject, bool> dropped) => store.Modify(id.Resource, id.Namespace, id.Name, o =>
    {
        var rest = o.OwnerReferences().Where(r => !dropped(r)).Select(r => (JsonNode)r.Copy()).ToArray();
        if (rest.Length == 0) o.Metadata().Remove("ownerReferences");
        else o.Metadata()["ownerReferences"] = new JsonArray(rest);
    }, WriteOptions.By("kube-controller-manager"));

    private JsonObject? Find(JsonObject reference, string ns)
    {
        var resource = store.Registry.FindKind(reference.Text("apiVersion") ?? "", reference.Text("kind") ?? "");
        if (resource is null) return null;
        var o = store.TryGet(resource.GroupResource, resource.IsNamespaced ? ns : "", reference.Text("name") ?? "");
        return o?.Uid() == reference.Text("uid") ? o : null;
    }

    private void Terminating(GroupResource resource, JsonObject owner)
    {
        if (owner.Finalizers().Contains("orphan"))
        {
            foreach (var dependent in DependentsOf(owner.Uid()))
                if (store.TryGet(dependent.Resource, dependent.Namespace, dependent.Name) is not null) DropReferences(dependent, r => r.Text("uid") == owner.Uid());
            RemoveFinalizer(resource, owner, "orphan");
        }
        else if (owner.Finalizers().Contains("foregroundDeletion"))
        {
            Foreground(resource, owner);
        }
    }

    private void Foreground(GroupResource resource, JsonObject owner)
    {
        var blocking = 0;
        foreach (var dependent in DependentsOf(owner.Uid()))
        {
            if (store.TryGet(dependent.Resource, dependent.Namespace, dependent.Name) is not { } o) continue;
            var reference = o.OwnerReferences().FirstOrDefault(r => r.Text("uid") == owner.Uid());
            if (reference.Flag("blockOwnerDeletion") == true) blocking++;
            if (o.IsTerminating()) continue;
            var propagation = DependentsOf(o.Uid()).Count > 0 ? Propagation.Foreground : Propagation.Background;
            store.Delete(dependent.Resource, dependent.Namespace, dependent.Name, new DeleteOptions { Uid = o.Uid(), Propagation = propagation });
            if (store.TryGet(dependent.Resource, dependent.Namespace, dependent.Name) is null && reference.Flag("blockOwnerDeletion") == true) blocking--;
        }
        if (blocking == 0) RemoveFinalizer(resource, owner, "foregroundDeletion");
    }

    private void ContinueForeground(JsonObject reference, string ns)
    {
        if (Find(reference, ns) is { } owner && owner.IsTerminating() && owner.Finalizers().Contains("foregroundDeletion")
            && store.Registry.FindKind(owner.ApiVersion(), owner.Kind()) is { } resource) Foreground(resource.GroupResource, owner);
    }

    private void RemoveFinalizer(GroupResource resource, JsonObject owner, string finalizer)
    {
        if (store.TryGet(resource, owner.Namespace(), owner.Name()) is null) return;
        store.Modify(resource, owner.Namespace(), owner.Name(), o =>
        {
            var rest = o.Finalizers().Where(f => f != finalizer).Select(f => (JsonNode)JsonValue.Create(f)!).ToArray();
            if (rest.Length == 0) o.Metadata().Remove("finalizers");
            else o.Metadata()["finalizers"] = new JsonArray(rest);
        }, WriteOptions.By("kube-controller-manager"));
    }
}
