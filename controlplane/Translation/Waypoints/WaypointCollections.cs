using AmbientMesh.ControlPlane.Collections;
using AmbientMesh.Kubernetes;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.ControlPlane.Translation.Waypoints;

/// <summary>Which Gateways are waypoints, and which of them services and workloads are bound to.</summary>
/// <remarks>Belongs to the thread of its graph.</remarks>
public sealed class WaypointCollections
{
    /// <summary>On the pods of a Gateway: its name.</summary>
    internal const string GatewayNameLabel = "gateway.networking.k8s.io/gateway-name";

    private readonly Collection<ObjectKey, Namespace> _namespaces;
    private readonly DerivedCollection<ObjectKey, Namespace, ObjectKey, NamespaceFacts> _facts;
    private readonly DerivedCollection<ObjectKey, Gateway, ObjectKey, Waypoint> _waypoints;

    internal WaypointCollections(CollectionGraph graph, Collection<ObjectKey, Namespace> namespaces, Func<FetchContext, string> network)
    {
        _namespaces = namespaces;
        GatewayClasses = new(graph, GatewayClass.Type.Plural, SameVersion<GatewayClass>.Instance);
        Gateways = new(graph, Gateway.Type.Plural, SameVersion<Gateway>.Instance);
        _facts = namespaces.Map("namespace facts", ns => ns.Key, (_, ns) => NamespaceFacts.Of(ns) is var facts && facts == NamespaceFacts.None ? null : facts);
        _waypoints = Gateways.Map("waypoints", gateway => gateway.Key, (context, gateway) =>
            Waypoint.Of(gateway, context.Get(GatewayClasses, new ObjectKey("", gateway.Spec.GatewayClassName)), network(context)));
    }

    public SourceCollection<ObjectKey, GatewayClass> GatewayClasses { get; }
    public SourceCollection<ObjectKey, Gateway> Gateways { get; }

    /// <summary>Gateways that can be referred to.</summary>
    internal Collection<ObjectKey, Waypoint> All => _waypoints;

    /// <summary>What a namespace says for the objects in it.</summary>
    internal NamespaceFacts FactsOf(FetchContext context, string ns) => context.Get(_facts, new ObjectKey("", ns)) ?? NamespaceFacts.None;

    /// <summary>Sets the waypoint fields of a service's message.</summary>
    internal void Bind(FetchContext context, Wds.Service service, WaypointChoice choice, WaypointLabels own)
    {
        if (choice is not WaypointChoice.Bound bound) return;
        service.Waypoint = bound.Waypoint.Address.Clone();
        service.IngressUseWaypoint = TakesIngress(context, service.Namespace, own);
        if (bound.Canary is not { } canary) return;
        service.WeightedWaypoints.Add(new Wds.WeightedWaypoint { Destination = bound.Waypoint.Address.Clone(), Weight = 100 - canary.Weight });
        service.WeightedWaypoints.Add(new Wds.WeightedWaypoint { Destination = canary.Waypoint.Address.Clone(), Weight = canary.Weight });
    }

    internal bool TakesIngress(FetchContext context, string ns, WaypointLabels own) => own.Ingress ?? FactsOf(context, ns).Waypoint.IngressUse.Equals("true", StringComparison.OrdinalIgnoreCase);

    internal WaypointChoice ForService(FetchContext context, ObjectMeta metadata, bool staysInNamespace)
    {
        var ns = metadata.Namespace ?? "";
        return WaypointSelection.ForService(ns, metadata.Labels, WaypointLabels.Of(metadata.Labels, metadata.Annotations), FactsOf(context, ns).Waypoint, LookupIn(context), staysInNamespace);
    }

    /// <summary>Sets the waypoint fields of a workload's message: a waypoint's own pod gets the way in that its Gateway asks for, all others what they are bound to.</summary>
    /// <returns>The waypoint it is bound to, or null.</returns>
    internal Waypoint? BindWorkload(FetchContext context, Wds.Workload workload, IReadOnlyDictionary<string, string> labels)
    {
        if (InstanceOf(context, workload.Namespace, labels) is { } waypoint)
        {
            if (waypoint.Binding is { } tunnel) workload.ApplicationTunnel = tunnel.Clone();
            return null;
        }
        if (ForWorkload(context, workload.Namespace, labels) is not WaypointChoice.Bound bound) return null;
        workload.Waypoint = bound.Waypoint.Address.Clone();
        return bound.Waypoint;
    }

    internal WaypointChoice ForWorkload(FetchContext context, string ns, IReadOnlyDictionary<string, string> labels) =>
        WaypointSelection.ForWorkload(ns, labels, WaypointLabels.Of(labels, Nothing), FactsOf(context, ns).Waypoint, LookupIn(context));

    private static readonly IReadOnlyDictionary<string, string> Nothing = System.Collections.Frozen.FrozenDictionary<string, string>.Empty;

    private Waypoint? InstanceOf(FetchContext context, string ns, IReadOnlyDictionary<string, string> labels) =>
        labels.GetValueOrDefault(GatewayNameLabel) is { Length: > 0 } gateway ? context.Get(_waypoints, new ObjectKey(ns, gateway)) : null;

    private WaypointLookup LookupIn(FetchContext context) =>
        new(key => context.Get(_waypoints, key), ns => context.Get(_namespaces, new ObjectKey("", ns))?.Metadata.Labels ?? Nothing);
}
