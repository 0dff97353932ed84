using System.Collections.Immutable;
using AmbientMesh.Model;
using AmbientMesh.Ztunnel.Connections;

namespace AmbientMesh.Ztunnel.Inbound;

/// <summary>A waypoint the requirement looked at.</summary>
/// <param name="BoundBy">What is bound to it: the workload itself, or one of its services.</param>
/// <param name="Service">What the reference means, when that is a service.</param>
/// <param name="Workload">What the reference means, when that is a workload. With neither the waypoint is absent.</param>
public sealed record JudgedWaypoint(GatewayAddress Reference, Decider BoundBy, MeshService? Service, Workload? Workload, ImmutableArray<SpiffeId> Identities, bool IsPeer);

/// <summary>Whether a connection has gone round the waypoint its destination is bound to. Pure.</summary>
/// <remarks>
/// Asked only with REQUIRE_WAYPOINT: Istio lets such traffic in unless a policy says otherwise (L4 reference §10.3), which leaves every L7 rule of the waypoint unheard.
/// Asked of new connections, and again of open ones when the binding changes (<see cref="PolicyWatch"/>).
/// </remarks>
public static class WaypointRequirement
{
    /// <summary>Why the connection must not come in; null when the workload has no waypoint, or <paramref name="peer"/> is one of its waypoints.</summary>
    /// <param name="peer">Proven by mutual TLS; null for plaintext, which is no waypoint.</param>
    /// <param name="judged">Told of every waypoint that was looked at; null for traffic.</param>
    public static CloseReason? Problem(MeshSnapshot mesh, Workload local, SpiffeId? peer, List<JudgedWaypoint>? judged = null)
    {
        GatewayAddress? missed = null;
        foreach (var (waypoint, boundBy) in WaypointsOf(mesh, local))
        {
            var (service, workload) = Find(mesh, local, waypoint);
            var identities = IdentitiesOf(mesh, service, workload);
            var isPeer = peer is { } identity && identities.Contains(identity);
            judged?.Add(new JudgedWaypoint(waypoint, boundBy, service, workload, identities, isPeer));
            if (isPeer) return null;
            missed ??= waypoint;
        }
        return missed is null ? null : CloseReason.WaypointBypassed(local, missed.ToString()!);
    }

    /// <summary>As <see cref="Problem"/>, for a connection that is open: where it cannot be told who a waypoint is, because it has no pods now, the verdict it was admitted
    /// with stands. So the connections of a waypoint that is being replaced end with it and not before.</summary>
    public static CloseReason? ProblemOfOpen(MeshSnapshot mesh, Workload local, SpiffeId? peer)
    {
        var judged = new List<JudgedWaypoint>();
        return Problem(mesh, local, peer, judged) is { } problem && judged.TrueForAll(waypoint => !waypoint.Identities.IsEmpty) ? problem : null;
    }

    /// <summary>Whether both snapshots say the same about who the waypoints of <paramref name="local"/> are.</summary>
    public static bool IsSame(MeshSnapshot before, MeshSnapshot mesh, Workload local) => Asked(before, local).SequenceEqual(Asked(mesh, local));

    private static IEnumerable<(GatewayAddress Waypoint, SpiffeId? Identity)> Asked(MeshSnapshot mesh, Workload local)
    {
        foreach (var (waypoint, _) in WaypointsOf(mesh, local))
        {
            yield return (waypoint, null);
            var (service, workload) = Find(mesh, local, waypoint);
            foreach (var identity in IdentitiesOf(mesh, service, workload)) yield return (waypoint, identity);
        }
    }

    private static IEnumerable<(GatewayAddress Waypoint, Decider BoundBy)> WaypointsOf(MeshSnapshot mesh, Workload local)
    {
        if (local.Waypoint is { } own) yield return (own, Decider.Of(local));
        foreach (var (name, _) in local.Services)
        {
            if (mesh.FindService(name) is not { } service) continue;
            if (service.Waypoint is { } bound) yield return (bound, Decider.Of(service));
            foreach (var weighted in service.WeightedWaypoints) yield return (weighted.Destination, Decider.Of(service));
        }
    }

    private static (MeshService? Service, Workload? Workload) Find(MeshSnapshot mesh, Workload local, GatewayAddress waypoint) => waypoint switch
    {
        GatewayAddress.ByHostname byName => mesh.FindService(byName.Name) is { } service ? (service, null) : (null, mesh.FindWorkloadByHostname(byName.Name)),
        GatewayAddress.ByAddress byAddress => mesh.FindService(byAddress.Address, local.Namespace) is { } service ? (service, null) : (null, mesh.FindWorkload(byAddress.Address)),
        _ => (null, null),
    };

    // A waypoint whose probes fail is still the waypoint: what it carries came by the way that is asked for.
    private static ImmutableArray<SpiffeId> IdentitiesOf(MeshSnapshot mesh, MeshService? service, Workload? workload) =>
        service is not null ? [.. service.SubjectAltNames, .. mesh.AllEndpoints(service.Key).Select(e => e.Workload.Identity).Distinct()]
        : workload is not null ? [workload.Identity]
        : [];
}
