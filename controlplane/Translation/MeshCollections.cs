using AmbientMesh.ControlPlane.Collections;
using AmbientMesh.ControlPlane.Translation.Entries;
using AmbientMesh.ControlPlane.Translation.Policy;
using AmbientMesh.ControlPlane.Translation.Waypoints;
using AmbientMesh.Kubernetes;
using AmbientMesh.Protocol.Security;
using AmbientMesh.Xds;

namespace AmbientMesh.ControlPlane.Translation;

/// <summary>From Kubernetes objects to mesh resources: the sources, what follows from what, and the two results that are served.</summary>
/// <remarks>
/// A pod's workload depends on the pod, its node's locality, the cluster's network and the services and policies that select its labels or reach its namespace,
/// and the waypoint it is bound to; on nothing else.
/// Belongs to the thread of its graph.
/// </remarks>
public sealed class MeshCollections
{
    private readonly MeshScope _scope;
    private readonly DerivedCollection<ObjectKey, Node, ObjectKey, NodeLocality> _localities;
    private readonly DerivedCollection<ObjectKey, Namespace, ObjectKey, ClusterNetwork> _networks;
    private readonly Index<SelectorTerm, string, TranslatedService> _servicesBySelector;
    private readonly Index<string, ObjectKey, TranslatedService> _servicesByName;
    private readonly Index<ObjectKey, ObjectKey, EndpointSlice> _handMadeSlicesByPod;
    private readonly DerivedCollection<ObjectKey, ServiceEntry, string, MeshAddress> _entryEndpoints;
    private readonly DerivedCollection<ObjectKey, WorkloadEntry, string, MeshAddress> _entryWorkloads;
    private readonly WaypointAllowance? _allowance;

    public MeshCollections(CollectionGraph graph, MeshScope scope)
    {
        _scope = scope;
        Namespaces = Source<Namespace>(graph);
        Nodes = Source<Node>(graph);
        Services = Source<Service>(graph);
        EndpointSlices = Source<EndpointSlice>(graph);
        Pods = Source<Pod>(graph);

        _networks = Namespaces.Map("networks", ns => ns.Key, (_, ns) => ns.Name == scope.SystemNamespace ? ClusterNetwork.Of(ns) : null);
        _localities = Nodes.Map("localities", node => node.Key, (_, node) => NodeLocality.Of(node));
        Waypoints = new WaypointCollections(graph, Namespaces, Network);
        TranslatedServices = Services.Map(
            "translated services", service => service.Key, (context, service) => ServiceTranslation.Translate(scope, Network(context), service, Waypoints.FactsOf(context, service.Namespace).Distribution));
        _servicesByName = TranslatedServices.IndexBy("by resource name", service => new[] { service.ResourceName });
        Entries = new EntryCollections(graph, scope, Namespaces, TranslatedServices, Waypoints, Network);
        Policies = new PolicyCollections(graph, scope, new WaypointPolicyJudgement(scope, Services, Entries, Waypoints));
        var kubernetes = TranslatedServices.MapMany("services by name", (TranslatedService s) => s.ResourceName, (_, service) => [service]);
        var all = new UnionCollection<string, TranslatedService>(graph, "all services", [kubernetes, Entries.Winners]);
        _servicesBySelector = all.IndexBy("by selector", SelectorTerm.Of);
        var handMadeSlices = EndpointSlices.Map("hand-made slices", slice => slice.Key, OfSelectorless, SameVersion<EndpointSlice>.Instance);
        _handMadeSlicesByPod = handMadeSlices.IndexBy("by pod", EndpointSliceTranslation.PodsOf);

        if (scope.AllowsFromWaypoints)
            _allowance = new WaypointAllowance(scope, Waypoints.All, Pods, all.MapMany("service waypoints", (ServiceWaypoints s) => s.Service, WaypointsOf));
        Authorizations = _allowance is null ? Policies.Authorizations : new UnionCollection<string, Authorization>(graph, "all authorizations", [Policies.Authorizations, _allowance.Authorizations]);

        PodWorkloads = Pods.MapMany("pod workloads", (MeshAddress a) => a.Name, OfPod);
        EndpointWorkloads = EndpointSlices.MapMany("endpoint workloads", (MeshAddress a) => a.Name, OfSlice);
        _entryEndpoints = Entries.ServiceEntries.MapMany("service entry endpoints", (MeshAddress a) => a.Name, OfEntry);
        _entryWorkloads = Entries.WorkloadEntries.MapMany("workload entry workloads", (MeshAddress a) => a.Name, OfWorkloadEntry);
        var services = all.MapMany("service addresses", (MeshAddress a) => a.Name, (context, service) => [OfService(context, service)]);
        Addresses = new UnionCollection<string, MeshAddress>(graph, "addresses", [PodWorkloads, EndpointWorkloads, _entryWorkloads, _entryEndpoints, services]);
        Statuses = new StatusCollections(Services, Entries, Waypoints, Network);
    }

    public SourceCollection<ObjectKey, Namespace> Namespaces { get; }
    public SourceCollection<ObjectKey, Node> Nodes { get; }
    public SourceCollection<ObjectKey, Service> Services { get; }
    public SourceCollection<ObjectKey, EndpointSlice> EndpointSlices { get; }
    public SourceCollection<ObjectKey, Pod> Pods { get; }

    /// <summary>AuthorizationPolicies and PeerAuthentications, and what follows from them.</summary>
    public PolicyCollections Policies { get; }

    /// <summary>ServiceEntries, WorkloadEntries and the mesh configuration.</summary>
    public EntryCollections Entries { get; }

    /// <summary>Gateways, and what is bound to them.</summary>
    public WaypointCollections Waypoints { get; }

    /// <summary>What objects are to say about themselves.</summary>
    public StatusCollections Statuses { get; }

    internal DerivedCollection<ObjectKey, Service, ObjectKey, TranslatedService> TranslatedServices { get; }
    internal DerivedCollection<ObjectKey, Pod, string, MeshAddress> PodWorkloads { get; }
    internal DerivedCollection<ObjectKey, EndpointSlice, string, MeshAddress> EndpointWorkloads { get; }

    /// <summary>Everything of type <c>istio.workload.Address</c>, by resource name.</summary>
    public Collection<string, MeshAddress> Addresses { get; }

    /// <summary>Everything of type <c>istio.security.Authorization</c>, by <c>namespace/name</c>.</summary>
    public Collection<string, Authorization> Authorizations { get; }

    /// <summary>The objects that made a resource of either type, in the versions that are in force; empty when there is no such resource.</summary>
    public IEnumerable<(string TypeUrl, ObjectOrigin Origin)> OriginsOf(string name)
    {
        var address = PodWorkloads.Find(name) ?? EndpointWorkloads.Find(name) ?? _entryWorkloads.Find(name) ?? _entryEndpoints.Find(name);
        var origins = address?.Origins ?? (Entries.OriginOf(name) is { } entry ? [entry] : [.. _servicesByName.Lookup(name).Select(s => TranslatedServices.Find(s.Key)!.Origin)]);
        return origins.Select(origin => (TypeUrls.Address, origin)).Concat(OriginsOfPolicy(name).Select(origin => (TypeUrls.Authorization, origin)));
    }

    private IReadOnlyList<ObjectOrigin> OriginsOfPolicy(string name) =>
        _allowance?.GatewayOf(name) is { } gateway && Waypoints.Gateways.Find(gateway) is { } waypoint ? [ObjectOrigin.Of(waypoint)] : Policies.OriginsOf(name);

    private static SourceCollection<ObjectKey, T> Source<T>(CollectionGraph graph) where T : KubernetesObject, IResource<T> =>
        new(graph, T.Type.Plural, SameVersion<T>.Instance);

    private string Network(FetchContext context) => context.Get(_networks, new ObjectKey("", _scope.SystemNamespace))?.Name ?? "";

    private EndpointSlice? OfSelectorless(FetchContext context, EndpointSlice slice) =>
        EndpointSliceTranslation.ServiceOf(slice) is { } service && context.Get(TranslatedServices, service) is { Selector.Count: 0 } ? slice : null;

    private MeshAddress OfService(FetchContext context, TranslatedService service)
    {
        var choice = ChoiceFor(context, service, out var metadata);
        var isCanonical = !service.IsEntry || Entries.IsCanonical(context, service);
        if (choice is not WaypointChoice.Bound && isCanonical == service.Message.Canonical) return MeshAddress.Of(service.Message, service.Origin);
        var message = service.Message.Clone();
        message.Canonical = isCanonical;
        if (metadata is not null) Waypoints.Bind(context, message, choice, WaypointLabels.Of(metadata.Labels, metadata.Annotations));
        return MeshAddress.Of(message, service.Origin);
    }

    private WaypointChoice ChoiceFor(FetchContext context, TranslatedService service, out ObjectMeta? metadata)
    {
        var isPrivate = service.Message.Visibility == Protocol.Wds.Service.Types.Visibility.Namespace;
        metadata = service.IsEntry ? context.Get(Entries.ServiceEntries, service.Key)?.Metadata : context.Get(Services, service.Key)?.Metadata;
        return metadata is null ? WaypointChoice.None.Instance : Waypoints.ForService(context, metadata, isPrivate);
    }

    private IEnumerable<ServiceWaypoints> WaypointsOf(FetchContext context, TranslatedService service) =>
        ChoiceFor(context, service, out _) is WaypointChoice.Bound bound ? [new ServiceWaypoints(service.ResourceName, bound.Waypoint.Key, bound.Canary?.Waypoint.Key)] : [];

    private IEnumerable<MeshAddress> OfPod(FetchContext context, Pod pod)
    {
        if (!PodTranslation.IsWorkload(pod)) return [];
        var node = pod.Spec.NodeName is { Length: > 0 } name ? context.Get(_localities, new ObjectKey("", name)) : null;
        var services = SelectedBy(context, pod.Namespace, pod.Metadata.Labels).Concat(ListedBy(context, pod)).OrderBy(s => s.ResourceName, StringComparer.Ordinal);
        var workload = PodTranslation.Translate(_scope, Network(context), pod, node, services);
        return [Finished(context, workload, pod.Metadata.Labels, ObjectOrigin.Of(pod))];
    }

    private IEnumerable<MeshAddress> OfWorkloadEntry(FetchContext context, WorkloadEntry entry)
    {
        if (!WorkloadEntryTranslation.IsReachable(entry.Spec)) return [];
        var labels = WorkloadEntryTranslation.LabelsOf(entry);
        var services = SelectedBy(context, entry.Namespace, labels).OrderBy(s => s.ResourceName, StringComparer.Ordinal);
        return [Finished(context, WorkloadEntryTranslation.Translate(_scope, Network(context), entry, services), labels, ObjectOrigin.Of(entry))];
    }

    private IEnumerable<MeshAddress> OfEntry(FetchContext context, ServiceEntry entry)
    {
        var origin = ObjectOrigin.Of(entry);
        foreach (var workload in WorkloadEntryTranslation.OfEndpoints(_scope, Network(context), entry, Entries.OwnedBy(context, entry.Key)))
        {
            workload.AuthorizationPolicies.Add(Policies.NamedBy(context, entry.Namespace, entry.Metadata.Labels));
            Bind(context, workload, entry.Metadata.Labels, isBound: !ServiceEntryTranslation.ResolvesItsHosts(entry));
            yield return MeshAddress.Of(workload, origin);
        }
    }

    private MeshAddress Finished(FetchContext context, Protocol.Wds.Workload workload, IReadOnlyDictionary<string, string> labels, ObjectOrigin origin)
    {
        workload.AuthorizationPolicies.Add(Policies.NamedBy(context, workload.Namespace, labels));
        Bind(context, workload, labels, isBound: true);
        return MeshAddress.Of(workload, origin);
    }

    /// <param name="isBound">The workload may have a waypoint of its own, beside those of its services.</param>
    private void Bind(FetchContext context, Protocol.Wds.Workload workload, IReadOnlyDictionary<string, string> labels, bool isBound)
    {
        var own = isBound ? Waypoints.BindWorkload(context, workload, labels) : null;
        if (_allowance is not null) workload.AuthorizationPolicies.Add(_allowance.NamedBy(context, workload, own));
    }

    // Each service is indexed under one term of its selector, which a selected workload must carry: so looking under the workload's own labels finds them all.
    private IEnumerable<TranslatedService> SelectedBy(FetchContext context, string ns, IReadOnlyDictionary<string, string> labels) =>
        labels.SelectMany(label => context.Lookup(_servicesBySelector, new SelectorTerm(ns, label.Key, label.Value), service => service.Selects(labels)));

    private IEnumerable<TranslatedService> ListedBy(FetchContext context, Pod pod) =>
        context.Lookup(_handMadeSlicesByPod, pod.Key)
            .Select(slice => EndpointSliceTranslation.ServiceOf(slice)!.Value).Distinct()
            .Select(service => context.Get(TranslatedServices, service)).OfType<TranslatedService>();

    private IEnumerable<MeshAddress> OfSlice(FetchContext context, EndpointSlice slice) =>
        EndpointSliceTranslation.ServiceOf(slice) is { } key && context.Get(TranslatedServices, key) is { } service
            ? EndpointSliceTranslation.Translate(_scope, Network(context), slice, service).Select(w => MeshAddress.Of(w, ObjectOrigin.Of(slice), service.Origin))
            : [];

    /// <summary>One required label of a namespace's workloads.</summary>
    private readonly record struct SelectorTerm(string Namespace, string Label, string Value)
    {
        public static IEnumerable<SelectorTerm> Of(TranslatedService service)
        {
            if (service.Selector.Count == 0) return [];
            var term = service.Selector.MinBy(t => t.Key, StringComparer.Ordinal);
            return [new SelectorTerm(service.Key.Namespace, term.Key, term.Value)];
        }
    }
}

/// <summary>Objects of the API server are the same when their resourceVersion is; an object without one is compared by content.</summary>
internal sealed class SameVersion<T> : IEqualityComparer<T> where T : KubernetesObject
{
    public static SameVersion<T> Instance { get; } = new();

    public bool Equals(T? x, T? y) =>
        ReferenceEquals(x, y)
        || (x is not null && y is not null && x.Metadata.Uid == y.Metadata.Uid && x.Metadata.ResourceVersion is { Length: > 0 } version && version == y.Metadata.ResourceVersion);

    public int GetHashCode(T obj) => obj.Key.GetHashCode();
}
