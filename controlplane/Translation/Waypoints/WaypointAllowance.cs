using AmbientMesh.ControlPlane.Collections;
using AmbientMesh.Kubernetes;
using AmbientMesh.Model;
using AmbientMesh.Protocol.Security;
using Action = AmbientMesh.Protocol.Security.Action;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.ControlPlane.Translation.Waypoints;

/// <summary>The waypoints of one service, by the name of the service's resource.</summary>
/// <param name="Canary">Takes a part of its traffic, or null.</param>
internal sealed record ServiceWaypoints(string Service, ObjectKey Waypoint, ObjectKey? Canary);

/// <summary>With PILOT_AUTO_ALLOW_WAYPOINT_POLICY: for each waypoint a policy that allows the accounts of its pods, named by the workloads behind it (reference 5.5).</summary>
/// <remarks>
/// An ALLOW policy is met by no one else, so a workload that names it is reached through its waypoint, or by whom another ALLOW policy lets in. A waypoint without
/// pods has no identity and no policy. Belongs to the thread of its graph.
/// </remarks>
internal sealed class WaypointAllowance
{
    private const string NamePrefix = "istio_allow_waypoint_";   // underscores keep these names apart from any object's
    private const string DefaultAccount = "default";

    private readonly MeshScope _scope;
    private readonly Index<ObjectKey, ObjectKey, Pod> _podsByGateway;
    private readonly Collection<ObjectKey, Authorization> _policies;
    private readonly Collection<string, ServiceWaypoints> _waypointsOf;

    /// <param name="waypointsOf">The services that have waypoints.</param>
    public WaypointAllowance(MeshScope scope, Collection<ObjectKey, Waypoint> waypoints, Collection<ObjectKey, Pod> pods, Collection<string, ServiceWaypoints> waypointsOf)
    {
        _scope = scope;
        _waypointsOf = waypointsOf;
        _podsByGateway = pods.IndexBy("by gateway", pod => pod.Metadata.Labels.GetValueOrDefault(WaypointCollections.GatewayNameLabel) is { Length: > 0 } gateway ? new[] { new ObjectKey(pod.Namespace, gateway) } : []);
        _policies = waypoints.Map("allowances of waypoints", waypoint => waypoint.Key, Allowing);
        Authorizations = _policies.MapMany("waypoint authorizations", (Authorization policy) => NameOf(policy), (_, policy) => [policy]);
    }

    /// <summary>By <c>namespace/name</c>.</summary>
    public Collection<string, Authorization> Authorizations { get; }

    /// <summary>The policies a workload names for the waypoints it is behind, its own and its services'; in order.</summary>
    /// <param name="own">The waypoint the workload itself is bound to, or null.</param>
    public IEnumerable<string> NamedBy(FetchContext context, Wds.Workload workload, Waypoint? own)
    {
        var waypoints = workload.Services.Keys.Select(service => context.Get(_waypointsOf, service)).OfType<ServiceWaypoints>()
            .SelectMany(s => s.Canary is { } canary ? new[] { s.Waypoint, canary } : [s.Waypoint]);
        if (own is not null) waypoints = waypoints.Append(own.Key);
        return waypoints.Distinct().Select(key => context.Get(_policies, key)).OfType<Authorization>().Select(NameOf).Order(StringComparer.Ordinal);
    }

    /// <summary>The Gateway behind a policy of that name; null when it is none of these.</summary>
    public ObjectKey? GatewayOf(string policyName)
    {
        if (policyName.Split('/') is not [_, var name] || !name.StartsWith(NamePrefix, StringComparison.Ordinal) || name[NamePrefix.Length..].Split('_') is not [var ns, var gateway]) return null;
        var key = new ObjectKey(ns, gateway);
        return _policies.TryFind(key, out var policy) && NameOf(policy) == policyName ? key : null;
    }

    private Authorization? Allowing(FetchContext context, Waypoint waypoint)
    {
        var accounts = context.Lookup(_podsByGateway, waypoint.Key).Select(pod => pod.Spec.ServiceAccountName is { Length: > 0 } account ? account : DefaultAccount)
            .Distinct().Order(StringComparer.Ordinal).ToList();
        if (accounts.Count == 0) return null;
        var match = new Match { Principals = { accounts.Select(account => new StringMatch { Exact = PrincipalOf(waypoint.Key.Namespace, account) }) } };
        return new Authorization
        {
            Namespace = waypoint.Key.Namespace,
            Name = $"{NamePrefix}{waypoint.Key.Namespace}_{waypoint.Key.Name}",
            Scope = Scope.WorkloadSelector,
            Action = Action.Allow,
            Rules = { new Rule { Clauses = { new Clause { Matches = { match } } } } },
        };
    }

    private string PrincipalOf(string ns, string account) => new SpiffeId(_scope.TrustDomain, ns, account).ToString()[SpiffeId.Scheme.Length..];

    private static string NameOf(Authorization policy) => $"{policy.Namespace}/{policy.Name}";
}
