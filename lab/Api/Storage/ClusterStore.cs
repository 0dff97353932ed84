using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Semantics;

namespace AmbientMesh.Lab.Api.Storage;

/// <summary>
/// The cluster's objects with the semantics of a Kubernetes API server: what HTTP clients, controllers and kubelets all read and write.
/// </summary>
/// <remarks>
/// Thread-safe; writes are serialised. Objects handed out are shared snapshots: read them freely, <see cref="JsonTree.Copy"/> before changing.
/// Objects handed in are copied. Refusals are <see cref="ApiException"/>.
/// </remarks>
public sealed partial class ClusterStore
{
    private readonly Lock _gate = new();
    private readonly Dictionary<GroupResource, ObjectTable> _tables = [];
    private readonly TimeProvider _clock;
    private long _revision;

    public ClusterStore(ResourceRegistry registry, TimeProvider clock)
    {
        Registry = registry;
        _clock = clock;
    }

    public ResourceRegistry Registry { get; }
    public TimeProvider Clock => _clock;

    /// <summary>Rules of kinds; kinds not named follow <see cref="KindRule"/>.</summary>
    public IReadOnlyDictionary<GroupResource, KindRule> Rules { get; init; } = KindRules.All;

    /// <summary>Checks and completes writes before validation (service accounts, namespaces, …), in order.</summary>
    public List<Action<AdmissionRequest>> Admission { get; } = [];

    /// <summary>Called under the store's lock after every write; must only queue.</summary>
    public event Action<Change>? Changed;

    /// <summary>Every stored object as if it had just been written.</summary>
    internal IReadOnlyList<Change> Existing()
    {
        lock (_gate) return [.. _tables.SelectMany(t => t.Value.Objects.Select(o => new Change(t.Key, o.ResourceVersion(), null, o)))];
    }

    /// <summary>Resources that hold at least one object.</summary>
    internal IReadOnlyList<GroupResource> Populated()
    {
        lock (_gate) return [.. _tables.Where(t => t.Value.Count > 0).Select(t => t.Key)];
    }

    /// <summary>The newest resourceVersion.</summary>
    public long Revision
    {
        get { lock (_gate) return _revision; }
    }

    internal KindRule RuleOf(ApiResource resource) =>
        resource.Custom is { } custom ? custom.Rule : Rules.GetValueOrDefault(resource.GroupResource) ?? KindRules.Plain;

    private ObjectTable Table(GroupResource resource)
    {
        if (!_tables.TryGetValue(resource, out var table)) _tables[resource] = table = new ObjectTable(resource, Registry.Find(resource)?.IsCustom == true ? _revision : 0);
        return table;
    }

    /// <summary>The object; null when there is none.</summary>
    public JsonObject? TryGet(GroupResource resource, string ns, string name)
    {
        lock (_gate) return Table(resource).Find(ns, name);
    }

    /// <summary>The object; throws 404 when there is none.</summary>
    public JsonObject Get(GroupResource resource, string ns, string name) => TryGet(resource, ns, name) ?? throw ApiErrors.NotFound(resource, name);

    /// <summary>What is selected now, ordered by namespace and name.</summary>
    public ObjectList List(GroupResource resource, Selection? selection = null)
    {
        lock (_gate)
        {
            IEnumerable<JsonObject> objects = Table(resource).Objects;
            if (selection is not null) objects = objects.Where(selection.Matches);
            return new ObjectList([.. objects], _revision);
        }
    }

    /// <summary>What is selected at an earlier revision; throws 410 when that is out of the history.</summary>
    internal ObjectList ListAt(GroupResource resource, Selection selection, long revision)
    {
        lock (_gate)
        {
            var table = Table(resource);
            if (revision < table.WindowStart) throw ApiErrors.Expired("The resourceVersion for the provided list is too old.");
            return new ObjectList([.. table.At(revision).Where(selection.Matches)], revision);
        }
    }

    /// <summary>Forgets history up to <paramref name="revision"/>, as compaction does.</summary>
    public void Compact(long revision)
    {
        lock (_gate)
        {
            foreach (var table in _tables.Values) table.Compact(revision);
        }
    }

    /// <summary>
    /// Watches from just after <paramref name="after"/>; without it, everything selected comes first as <see cref="WatchEventType.Added"/>.
    /// A revision out of the history yields one <see cref="WatchEventType.Error"/> and the end.
    /// </summary>
    public WatchStream Watch(GroupResource resource, Selection? selection = null, long? after = null, bool markInitialEnd = false)
    {
        selection ??= Selection.All;
        lock (_gate)
        {
            var table = Table(resource);
            var watch = new WatchStream(selection, after ?? _revision, Unsubscribe, w => PushBookmark(w, initialEnd: false));
            if (after is null)
            {
                foreach (var o in table.Objects.Where(selection.Matches)) watch.Push(new WatchEvent(WatchEventType.Added, o, o.ResourceVersion()));
                if (markInitialEnd) PushBookmark(watch, initialEnd: true);
            }
            else if (after < table.WindowStart)
            {
                watch.Push(new WatchEvent(WatchEventType.Error, ApiErrors.Expired($"too old resource version: {after} ({table.WindowStart})").Status, 0));
                watch.End();
                return watch;
            }
            else
            {
                foreach (var change in table.Since(after.Value)) watch.Show(change);
            }
            table.Subscribe(watch);
            return watch;

            void Unsubscribe(WatchStream w)
            {
                lock (_gate) table.Unsubscribe(w);
            }
        }

    }

    private long PushBookmark(WatchStream watch, bool initialEnd)
    {
        lock (_gate)
        {
            var metadata = new JsonObject { ["resourceVersion"] = _revision.ToString() };
            if (initialEnd) metadata["annotations"] = new JsonObject { ["k8s.io/initial-events-end"] = "true" };
            watch.Push(new WatchEvent(WatchEventType.Bookmark, new JsonObject { ["metadata"] = metadata }, _revision));
            return _revision;
        }
    }

    /// <summary>Removes a resource (its definition is gone) and ends its watches.</summary>
    internal void DropTable(GroupResource resource)
    {
        lock (_gate)
        {
            if (_tables.Remove(resource, out var table)) table.EndWatches();
        }
    }

    private JsonObject CommitWrite(GroupResource resource, JsonObject? before, JsonObject after)
    {
        after.Metadata()["resourceVersion"] = (++_revision).ToString();
        Commit(new Change(resource, _revision, before, after));
        return after;
    }

    private void CommitRemoval(GroupResource resource, JsonObject last) => Commit(new Change(resource, ++_revision, last, null));

    private void Commit(Change change)
    {
        Table(change.Resource).Commit(change);
        Changed?.Invoke(change);
    }
}
