using AmbientMesh.Model;
using AmbientMesh.Ztunnel.Connections;

namespace AmbientMesh.Ztunnel.Inbound;

/// <summary>Whether a connection has gone round the waypoint its destination is bound to. Pure.</summary>
/// <remarks>
/// Asked only with REQUIRE_WAYPOINT: Istio lets such traffic in unless a policy says otherwise (L4 reference §10.3), which leaves every L7 rule of the waypoint unheard.
/// </remarks>
public static class WaypointRequirement
{
    /// <summary>Why the connection must not come in; null when the workload has no waypoint, or <paramref name="peer"/> is one of its waypoints.</summary>
    /// <param name="peer">Proven by mutual TLS; null for plaintext, which is no waypoint.</param>
    public static CloseReason? Problem(MeshSnapshot mesh, Workload local, SpiffeId? peer)
    {
        GatewayAddress? missed = null;
        foreach (var waypoint in WaypointsOf(mesh, local))
        {
            if (peer is { } identity && IdentitiesOf(mesh, local, waypoint).Contains(identity)) return null;
            missed ??= waypoint;
        }
        return missed is null ? null : CloseReason.WaypointBypassed(local, missed.ToString()!);
    }

    private static IEnumerable<GatewayAddress> WaypointsOf(MeshSnapshot mesh, Workload local)
    {
        if (local.Waypoint is { } own) yield return own;
        foreach (var (name, _) in local.Services)
        {
            if (mesh.FindService(name) is not { } service) continue;
            if (service.Waypoint is { } bound) yield return bound;
            foreach (var weighted in service.WeightedWaypoints) yield return weighted.Destination;
        }
    }

    private static IEnumerable<SpiffeId> IdentitiesOf(MeshSnapshot mesh, Workload local, GatewayAddress waypoint)
    {
        var service = waypoint switch
        {
            GatewayAddress.ByHostname byName => mesh.FindService(byName.Name),
            GatewayAddress.ByAddress byAddress => mesh.FindService(byAddress.Address, local.Namespace),
            _ => null,
        };
        if (service is not null) return [.. service.SubjectAltNames, .. mesh.Endpoints(service).Select(e => e.Workload.Identity)];
        var workload = waypoint switch
        {
            GatewayAddress.ByHostname byName => mesh.FindWorkloadByHostname(byName.Name),
            GatewayAddress.ByAddress byAddress => mesh.FindWorkload(byAddress.Address),
            _ => null,
        };
        return workload is null ? [] : [workload.Identity];
    }
}
