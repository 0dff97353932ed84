using AmbientMesh.ControlPlane.Collections;
using AmbientMesh.ControlPlane.Translation.Policy;
using AmbientMesh.Kubernetes;
using AmbientMesh.Protocol.Security;
using AmbientMesh.Xds;

namespace AmbientMesh.ControlPlane.Translation;

/// <summary>From Kubernetes objects to mesh resources: the sources, what follows from what, and the two results that are served.</summary>
/// <remarks>
/// A pod's workload depends on the pod, its node's locality, the cluster's network and the services and policies that select its labels or reach its namespace; on nothing else.
/// Belongs to the thread of its graph.
/// </remarks>
public sealed class MeshCollections
{
    private readonly MeshScope _scope;
    private readonly DerivedCollection<ObjectKey, Node, ObjectKey, NodeLocality> _localities;
    private readonly DerivedCollection<ObjectKey, Namespace, ObjectKey, ClusterNetwork> _networks;
    private readonly Index<SelectorTerm, ObjectKey, TranslatedService> _servicesBySelector;
    private readonly Index<string, ObjectKey, TranslatedService> _servicesByName;
    private readonly Index<ObjectKey, ObjectKey, EndpointSlice> _handMadeSlicesByPod;

    public MeshCollections(CollectionGraph graph, MeshScope scope)
    {
        _scope = scope;
        Namespaces = Source<Namespace>(graph);
        Nodes = Source<Node>(graph);
        Services = Source<Service>(graph);
        EndpointSlices = Source<EndpointSlice>(graph);
        Pods = Source<Pod>(graph);
        Policies = new PolicyCollections(graph, scope);

        _networks = Namespaces.Map("networks", ns => ns.Key, (_, ns) => ns.Name == scope.SystemNamespace ? ClusterNetwork.Of(ns) : null);
        _localities = Nodes.Map("localities", node => node.Key, (_, node) => NodeLocality.Of(node));
        TranslatedServices = Services.Map("translated services", service => service.Key, (context, service) => ServiceTranslation.Translate(scope, Network(context), service));
        _servicesBySelector = TranslatedServices.IndexBy("by selector", SelectorTerm.Of);
        var handMadeSlices = EndpointSlices.Map("hand-made slices", slice => slice.Key, OfSelectorless, SameVersion<EndpointSlice>.Instance);
        _handMadeSlicesByPod = handMadeSlices.IndexBy("by pod", EndpointSliceTranslation.PodsOf);

        PodWorkloads = Pods.MapMany("pod workloads", (MeshAddress a) => a.Name, OfPod);
        EndpointWorkloads = EndpointSlices.MapMany("endpoint workloads", (MeshAddress a) => a.Name, OfSlice);
        _servicesByName = TranslatedServices.IndexBy("by resource name", service => new[] { service.ResourceName });
        var services = TranslatedServices.MapMany("service addresses", (MeshAddress a) => a.Name, (_, service) => [MeshAddress.Of(service.Message, service.Origin)]);
        Addresses = new UnionCollection<string, MeshAddress>(graph, "addresses", [PodWorkloads, EndpointWorkloads, services]);
    }

    public SourceCollection<ObjectKey, Namespace> Namespaces { get; }
    public SourceCollection<ObjectKey, Node> Nodes { get; }
    public SourceCollection<ObjectKey, Service> Services { get; }
    public SourceCollection<ObjectKey, EndpointSlice> EndpointSlices { get; }
    public SourceCollection<ObjectKey, Pod> Pods { get; }

    /// <summary>AuthorizationPolicies and PeerAuthentications, and what follows from them.</summary>
    public PolicyCollections Policies { get; }

    internal DerivedCollection<ObjectKey, Service, ObjectKey, TranslatedService> TranslatedServices { get; }
    internal DerivedCollection<ObjectKey, Pod, string, MeshAddress> PodWorkloads { get; }
    internal DerivedCollection<ObjectKey, EndpointSlice, string, MeshAddress> EndpointWorkloads { get; }

    /// <summary>Everything of type <c>istio.workload.Address</c>, by resource name.</summary>
    public Collection<string, MeshAddress> Addresses { get; }

    /// <summary>Everything of type <c>istio.security.Authorization</c>, by <c>namespace/name</c>.</summary>
    public Collection<string, Authorization> Authorizations => Policies.Authorizations;

    /// <summary>The objects that made a resource of either type, in the versions that are in force; empty when there is no such resource.</summary>
    public IEnumerable<(string TypeUrl, ObjectOrigin Origin)> OriginsOf(string name)
    {
        var address = PodWorkloads.Find(name)?.Origins ?? EndpointWorkloads.Find(name)?.Origins ?? [.. _servicesByName.Lookup(name).Select(s => TranslatedServices.Find(s.Key)!.Origin)];
        return address.Select(origin => (TypeUrls.Address, origin)).Concat(Policies.OriginsOf(name).Select(origin => (TypeUrls.Authorization, origin)));
    }

    private static SourceCollection<ObjectKey, T> Source<T>(CollectionGraph graph) where T : KubernetesObject, IResource<T> =>
        new(graph, T.Type.Plural, SameVersion<T>.Instance);

    private string Network(FetchContext context) => context.Get(_networks, new ObjectKey("", _scope.SystemNamespace))?.Name ?? "";

    private EndpointSlice? OfSelectorless(FetchContext context, EndpointSlice slice) =>
        EndpointSliceTranslation.ServiceOf(slice) is { } service && context.Get(TranslatedServices, service) is { Selector.Count: 0 } ? slice : null;

    private IEnumerable<MeshAddress> OfPod(FetchContext context, Pod pod)
    {
        if (!PodTranslation.IsWorkload(pod)) return [];
        var node = pod.Spec.NodeName is { Length: > 0 } name ? context.Get(_localities, new ObjectKey("", name)) : null;
        var services = SelectedBy(context, pod).Concat(ListedBy(context, pod)).OrderBy(s => s.Key);
        var workload = PodTranslation.Translate(_scope, Network(context), pod, node, services);
        workload.AuthorizationPolicies.Add(Policies.NamedBy(context, pod.Namespace, pod.Metadata.Labels));
        return [MeshAddress.Of(workload, ObjectOrigin.Of(pod))];
    }

    // Each service is indexed under one term of its selector, which a selected pod must carry: so looking under the pod's own labels finds them all.
    private IEnumerable<TranslatedService> SelectedBy(FetchContext context, Pod pod) =>
        pod.Metadata.Labels.SelectMany(label => context.Lookup(
            _servicesBySelector, new SelectorTerm(pod.Namespace, label.Key, label.Value), service => service.Selects(pod.Metadata.Labels)));

    private IEnumerable<TranslatedService> ListedBy(FetchContext context, Pod pod) =>
        context.Lookup(_handMadeSlicesByPod, pod.Key)
            .Select(slice => EndpointSliceTranslation.ServiceOf(slice)!.Value).Distinct()
            .Select(service => context.Get(TranslatedServices, service)).OfType<TranslatedService>();

    private IEnumerable<MeshAddress> OfSlice(FetchContext context, EndpointSlice slice) =>
        EndpointSliceTranslation.ServiceOf(slice) is { } key && context.Get(TranslatedServices, key) is { } service
            ? EndpointSliceTranslation.Translate(_scope, Network(context), slice, service).Select(w => MeshAddress.Of(w, ObjectOrigin.Of(slice), service.Origin))
            : [];

    /// <summary>One required label of a namespace's pods.</summary>
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
