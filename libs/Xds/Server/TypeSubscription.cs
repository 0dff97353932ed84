using AmbientMesh.Protocol.Core;
using AmbientMesh.Protocol.Discovery;

namespace AmbientMesh.Xds;

/// <summary>What one client has of one type and what it is owed (reference 4.5). Does no I/O; not for several threads at once.</summary>
internal sealed class TypeSubscription(IResourceSource source, Node node, DeltaRequestLimits limits)
{
    /// <summary>What the client holds under names it asked for: version, and the resource's own name, by which ztunnel forgets it.</summary>
    private readonly record struct Held(string Version, string OwnName);

    private readonly Dictionary<string, Held> _held = new(StringComparer.Ordinal);
    private readonly HashSet<string> _names = new(StringComparer.Ordinal);
    private readonly HashSet<string> _asked = new(StringComparer.Ordinal);
    private ResourceSnapshot? _sent;
    private bool _owesAnswer;

    /// <summary>True: the client gets everything. False: what it named, what comes along, and what it gets unasked.</summary>
    public bool IsWildcard { get; private set; }

    public bool IsStarted { get; private set; }

    /// <summary>Something may have to be sent.</summary>
    public bool IsDirty => IsStarted && (_owesAnswer || !ReferenceEquals(_sent, source.SnapshotFor(node)));

    public int Names => _names.Count;

    /// <summary>Takes in the subscription part of a request; acknowledgement is the session's.</summary>
    public void Apply(DeltaDiscoveryRequest request)
    {
        var first = !IsStarted;
        IsStarted = true;
        if (first) Begin(request);
        Subscribe(request, first);
        Unsubscribe(request, first);
    }

    /// <summary>Resources and removals that bring the client up to date; null when nothing is owed.</summary>
    public Delta? Take()
    {
        if (!IsDirty) return null;
        var now = source.SnapshotFor(node);
        var delta = new Delta();
        if (IsWildcard) TakeEverything(now, delta);
        if (_names.Count > 0 || !IsWildcard) TakeNamed(now, delta);
        var owed = _owesAnswer;
        _sent = now;
        _owesAnswer = false;
        _asked.Clear();
        return owed || !delta.IsEmpty ? delta : null;
    }

    private void Begin(DeltaDiscoveryRequest request)
    {
        _owesAnswer = true;   // also with nothing to send: the empty answer makes ztunnel ready
        var named = request.ResourceNamesSubscribe;
        IsWildcard = (named.Count == 0 || named.Contains(TypeUrls.WildcardName)) && !request.ResourceNamesUnsubscribe.Contains(TypeUrls.WildcardName);
        foreach (var (name, version) in request.InitialResourceVersions)
        {
            _held[name] = new Held(version, name);
            // ztunnel lists what it holds and what it waits for, and does not subscribe to it again.
            if (!IsWildcard) _names.Add(name);
        }
    }

    private void Subscribe(DeltaDiscoveryRequest request, bool first)
    {
        foreach (var name in request.ResourceNamesSubscribe)
        {
            if (name == TypeUrls.WildcardName)
            {
                if (!first && !IsWildcard) BecomeWildcard();
                continue;
            }
            _names.Add(name);
            _asked.Add(name);
            _owesAnswer = true;
        }
    }

    private void Unsubscribe(DeltaDiscoveryRequest request, bool first)
    {
        foreach (var name in request.ResourceNamesUnsubscribe)
        {
            if (name == TypeUrls.WildcardName && !first) IsWildcard = false;
            _names.Remove(name);
            _held.Remove(name);
        }
    }

    private void BecomeWildcard()
    {
        IsWildcard = true;
        _sent = null;
        _owesAnswer = true;
    }

    private void TakeEverything(ResourceSnapshot now, Delta delta)
    {
        if (_sent is { } before)
        {
            foreach (var name in now.ChangedSince(before)) Compare(name, before, now, delta);
            return;
        }
        foreach (var (name, resource) in now.Resources)
            if (!_held.TryGetValue(name, out var held) || held.Version != resource.Version || resource.Version.Length == 0) delta.Put(resource.Wire);
        foreach (var name in _held.Keys)
            if (!now.Resources.ContainsKey(name)) delta.Remove(name);
        _held.Clear();   // from here on the snapshot that was sent says what the client holds
    }

    private static void Compare(string name, ResourceSnapshot before, ResourceSnapshot now, Delta delta)
    {
        var had = before.Resources.TryGetValue(name, out var old);
        if (!now.Resources.TryGetValue(name, out var current))
        {
            if (had) delta.Remove(name);
        }
        else if (!had || !old!.IsSameAs(current)) delta.Put(current.Wire);
    }

    private void TakeNamed(ResourceSnapshot now, Delta delta)
    {
        var wanted = Wanted(now);
        foreach (var (name, resource) in wanted)
        {
            if (!_asked.Contains(name) && _held.TryGetValue(name, out var held) && held.Version == resource.Version && resource.Version.Length > 0) continue;
            if (!_asked.Contains(name) && resource.Version.Length == 0 && _sent is { } before && _held.ContainsKey(name)
                && before.Resources.TryGetValue(resource.Name, out var old) && old.IsSameAs(resource)) continue;
            delta.Put(resource.Named(name));
            _held[name] = new Held(resource.Version, resource.Name);
        }
        foreach (var (name, held) in _held.Where(entry => !wanted.ContainsKey(entry.Key)).ToArray())
        {
            _held.Remove(name);
            delta.Remove(name);
            // ztunnel forgets a resource by its own name only, whatever it was asked by.
            if (held.OwnName != name && !now.Resources.ContainsKey(held.OwnName)) delta.Remove(held.OwnName);
        }
        foreach (var name in _asked)
            if (!wanted.ContainsKey(name)) delta.Remove(name);
        // Names nobody knows are kept, since they may come to exist, until they are too many: ztunnel asks again at each connection.
        if (_names.Count > limits.MaxNames) _names.RemoveWhere(name => !wanted.ContainsKey(name));
    }

    /// <summary>Name on the wire to resource: what was named, under that name; everything else under its own.</summary>
    private Dictionary<string, XdsResource> Wanted(ResourceSnapshot now)
    {
        Dictionary<string, XdsResource> wanted = new(StringComparer.Ordinal);
        foreach (var name in _names)
        {
            if (now.Resources.TryGetValue(name, out var exact)) Want(name, exact);
            else
                foreach (var own in now.WithAlias(name)) Want(wanted.ContainsKey(name) ? own : name, now.Resources[own]);
        }
        if (!IsWildcard)
            foreach (var own in source.Unasked(now, node)) wanted.TryAdd(own, now.Resources[own]);
        return wanted;

        void Want(string name, XdsResource resource)
        {
            wanted[name] = resource;
            foreach (var own in source.ComingAlong(now, resource))
                if (now.Resources.TryGetValue(own, out var along)) wanted.TryAdd(own, along);
        }
    }
}

/// <summary>What one push holds.</summary>
internal sealed class Delta
{
    private readonly Dictionary<string, Resource> _resources = new(StringComparer.Ordinal);
    private readonly HashSet<string> _removed = new(StringComparer.Ordinal);

    public IReadOnlyCollection<Resource> Resources => _resources.Values;
    public IReadOnlyCollection<string> Removed => _removed;
    public bool IsEmpty => _resources.Count == 0 && _removed.Count == 0;

    /// <summary>Once per name, also for a client that has the wildcard and asked by name besides.</summary>
    public void Put(Resource resource) => _resources[resource.Name] = resource;

    public void Remove(string name) => _removed.Add(name);
}

/// <summary>Limits of one stream.</summary>
public sealed record DeltaRequestLimits
{
    /// <summary>Names one client may be subscribed to per type before those that nobody knows are forgotten.</summary>
    public int MaxNames { get; init; } = 50_000;

    /// <summary>
    /// Bytes of resources in one response before it is split. High on purpose: ztunnel counts a type as received with its first response, so a world
    /// is sent whole as long as its 200 MiB limit allows.
    /// </summary>
    public int MaxResponseBytes { get; init; } = 64 * 1024 * 1024;
}
