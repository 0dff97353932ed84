using AmbientMesh.Protocol.Core;

namespace AmbientMesh.Xds;

/// <summary>Where the server takes the resources of one type from.</summary>
public interface IResourceSource
{
    string TypeUrl { get; }

    /// <summary>What the client with this node may see now. Successive answers for one client come from one table.</summary>
    ResourceSnapshot SnapshotFor(Node node);

    /// <summary>Names an on-demand client gets without asking.</summary>
    IEnumerable<string> Unasked(ResourceSnapshot snapshot, Node node);

    /// <summary>Names that come along with a resource an on-demand client asked for.</summary>
    IEnumerable<string> ComingAlong(ResourceSnapshot snapshot, XdsResource asked);

    /// <summary>Calls back, on any thread and quickly, after each change until disposed.</summary>
    IDisposable OnChanged(Action changed);
}

/// <summary>The resources of one type, the same for every client. Any thread may change it; a batch becomes visible at once.</summary>
public sealed class ResourceTable(string typeUrl) : IResourceSource
{
    private readonly Lock _writing = new();
    private readonly Listeners _listeners = new();
    private volatile ResourceSnapshot _current = ResourceSnapshot.Empty();

    public string TypeUrl { get; } = typeUrl;
    public ResourceSnapshot Current => _current;

    /// <summary>Applies removals, then updates, as one change; true when anything differs afterwards.</summary>
    public bool Update(IEnumerable<XdsResource> updates, IEnumerable<string>? removals = null)
    {
        lock (_writing)
        {
            var next = _current.With(updates, removals ?? []);
            if (ReferenceEquals(next, _current)) return false;
            _current = next;
        }
        _listeners.Notify();
        return true;
    }

    /// <summary>Makes <paramref name="resources"/> the whole content; what stays the same is not sent again.</summary>
    public bool Replace(IReadOnlyCollection<XdsResource> resources)
    {
        lock (_writing)
        {
            var names = resources.Select(r => r.Name).ToHashSet(StringComparer.Ordinal);
            var next = _current.With(resources, _current.Resources.Keys.Where(name => !names.Contains(name)));
            if (ReferenceEquals(next, _current)) return false;
            _current = next;
        }
        _listeners.Notify();
        return true;
    }

    public ResourceSnapshot SnapshotFor(Node node) => _current;

    /// <summary>The workloads of the client's own node (metadata NODE_NAME).</summary>
    public IEnumerable<string> Unasked(ResourceSnapshot snapshot, Node node) =>
        node.Metadata?.Fields.TryGetValue("NODE_NAME", out var name) == true ? snapshot.InGroup(ResourceGroups.OfNode(name.StringValue)) : [];

    public IEnumerable<string> ComingAlong(ResourceSnapshot snapshot, XdsResource asked) => snapshot.InGroup(ResourceGroups.Of(asked.Name));

    public IDisposable OnChanged(Action changed) => _listeners.Add(changed);

    private sealed class Listeners
    {
        private readonly Lock _gate = new();
        private Action[] _all = [];

        public IDisposable Add(Action listener)
        {
            lock (_gate) _all = [.. _all, listener];
            return new Registration(this, listener);
        }

        public void Notify()
        {
            Action[] all;
            lock (_gate) all = _all;
            foreach (var listener in all) listener();
        }

        private void Remove(Action listener)
        {
            lock (_gate) _all = [.. _all.Where(other => !ReferenceEquals(other, listener))];
        }

        private sealed class Registration(Listeners owner, Action listener) : IDisposable
        {
            public void Dispose() => owner.Remove(listener);
        }
    }
}
