using AmbientMesh.ControlPlane.Collections;
using AmbientMesh.ControlPlane.Translation;
using AmbientMesh.Protocol.Security;
using AmbientMesh.Xds;

namespace AmbientMesh.ControlPlane.Discovery;

/// <summary>A publication: how long the first change in it waited, when it was made and how long that took.</summary>
/// <param name="Number">Rises by one each time.</param>
/// <param name="Made">Timestamp of the clock given.</param>
public sealed record Publication(long Number, long Made, TimeSpan Waited, TimeSpan Took);

/// <summary>Carries changes of the collections into the tables that discovery serves: gathered, debounced, each resource marshalled once for all clients.</summary>
/// <remarks>Nothing is published before <see cref="Open"/>: a client must never see the half-read world and take what is missing for removed.</remarks>
public sealed class ResourcePublisher : IDisposable
{
    private readonly MeshCollections _mesh;
    private readonly CollectionLoop _loop;
    private readonly TimeProvider _clock;
    private readonly Debouncer _debouncer;
    private readonly HashSet<string> _changedAddresses = [];        // used on the loop only
    private readonly HashSet<string> _changedAuthorizations = [];   // same
    private List<string> _retiring = [];                            // same; policies to take back with the next publication
    private List<string> _narrowing = [];                           // same; policies to be narrowed to what names them with the next publication
    private readonly HashSet<string> _wide = [];                    // same; policies that reach workloads by their scope, as last published
    private bool _isOpen;                                           // same
    private volatile Publication _last = new(0, 0, TimeSpan.Zero, TimeSpan.Zero);

    public ResourcePublisher(MeshCollections mesh, CollectionLoop loop, TimeSpan quiet, TimeSpan max, TimeProvider clock)
    {
        (_mesh, _loop, _clock) = (mesh, loop, clock);
        _debouncer = new Debouncer(quiet, max, waited => loop.PostRead(() => Publish(waited)), clock);
        mesh.Addresses.Subscribe(changes => Note(changes.Select(c => c.Key), _changedAddresses));
        mesh.Authorizations.Subscribe(changes => Note(changes.Select(c => c.Key), _changedAuthorizations));
    }

    public ResourceTable Addresses { get; } = new(TypeUrls.Address);
    public ResourceTable Workloads { get; } = new(TypeUrls.Workload);
    public ResourceTable Authorizations { get; } = new(TypeUrls.Authorization);

    /// <summary>The sources of discovery in the order in which changes go out: workloads name policies.</summary>
    public IReadOnlyList<IResourceSource> Sources => [Authorizations, Addresses, Workloads];

    /// <summary>The last publication; its number is 0 before the first.</summary>
    public Publication Last => _last;

    /// <summary>Called on the loop after each publication.</summary>
    public Action<Publication>? Published { get; set; }

    /// <summary>Publishes everything known and from then on each change after its debounce. Call it on the loop.</summary>
    public void Open()
    {
        _isOpen = true;
        Publish(TimeSpan.Zero);
    }

    public void Dispose() => _debouncer.Dispose();

    private void Note(IEnumerable<string> names, HashSet<string> changed)
    {
        changed.UnionWith(names);
        if (_isOpen) _debouncer.Changed();
    }

    private void Publish(TimeSpan waited)
    {
        if (_last.Number > 0 && _changedAddresses.Count == 0 && _changedAuthorizations.Count == 0 && _retiring.Count == 0 && _narrowing.Count == 0) return;   // an earlier publication took the change along
        var begun = _clock.GetTimestamp();
        var movesAddresses = _changedAddresses.Count > 0;
        var due = _narrowing;
        _changedAuthorizations.UnionWith(due);
        var (policies, gone) = Take(_changedAuthorizations, _mesh.Authorizations);
        // A policy that no longer reaches everyone keeps doing so until those it is now about name it.
        _narrowing = movesAddresses ? [.. policies.Where(p => p.Scope == Scope.WorkloadSelector && _wide.Contains(NameOf(p))).Select(NameOf).Except(due)] : [];
        policies.RemoveAll(p => _narrowing.Contains(NameOf(p)));
        foreach (var policy in policies)
            if (policy.Scope == Scope.WorkloadSelector) _wide.Remove(NameOf(policy));
            else _wide.Add(NameOf(policy));
        _wide.ExceptWith(gone);
        // A policy outlives the workloads' naming of it by one publication: removed first, it would leave them unprotected until they name its successor.
        var removedPolicies = movesAddresses ? _retiring : [.. _retiring, .. gone];
        _retiring = movesAddresses ? gone : [];
        Authorizations.Update(policies.Select(p => XdsResource.Create(TypeUrls.Authorization, NameOf(p), p, versioned: false)), removedPolicies.Where(name => !_mesh.Authorizations.TryFind(name, out _)));
        var (addresses, removed) = Take(_changedAddresses, _mesh.Addresses);
        Addresses.Update(addresses.Select(AddressResource), removed);
        Workloads.Update(addresses.Where(a => a.Message.Workload is not null).Select(WorkloadResource), removed);
        var now = _clock.GetTimestamp();
        _last = new Publication(_last.Number + 1, now, waited, _clock.GetElapsedTime(begun, now));
        Published?.Invoke(_last);
        if (_retiring.Count > 0 || _narrowing.Count > 0) _debouncer.Changed();
    }

    private static string NameOf(Authorization policy) => $"{policy.Namespace}/{policy.Name}";

    private static (List<TValue> Present, List<string> Gone) Take<TValue>(HashSet<string> changed, Collection<string, TValue> from) where TValue : class
    {
        var present = new List<TValue>(changed.Count);
        var gone = new List<string>();
        foreach (var name in changed)
            if (from.TryFind(name, out var value)) present.Add(value);
            else gone.Add(name);
        changed.Clear();
        return (present, gone);
    }

    private static XdsResource AddressResource(MeshAddress address) =>
        XdsResource.Create(TypeUrls.Address, address.Name, address.Message, address.Aliases, Groups(address));

    private static XdsResource WorkloadResource(MeshAddress address) =>
        XdsResource.Create(TypeUrls.Workload, address.Name, address.Message.Workload, address.Aliases, Groups(address));

    // A node's own workloads are sent to its ztunnel unasked; a service's workloads come along with it (reference 4.5).
    private static IReadOnlyList<string> Groups(MeshAddress address) =>
        [.. address.Services.Select(ResourceGroups.Of), .. address.Node.Length > 0 ? [ResourceGroups.OfNode(address.Node)] : Array.Empty<string>()];
}
