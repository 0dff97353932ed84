using System.Net;
using AmbientMesh.Hbone;
using AmbientMesh.Model;
using AmbientMesh.Ztunnel.Connections;

namespace AmbientMesh.Ztunnel.Outbound;

/// <summary>What a routing decision depends on besides the mesh and the destination.</summary>
/// <param name="Network">The network destinations are looked up on; the empty one for most.</param>
/// <param name="Random">Draws endpoints and weighted waypoints.</param>
/// <param name="Trace">Told what was considered, for an explanation; null for traffic.</param>
/// <param name="Avoid">Endpoints taken only when no other can be; null for none.</param>
public sealed record OutboundSettings(string Network, Random Random, DecisionTrace? Trace = null, Predicate<Workload>? Avoid = null);

/// <summary>Chooses how a captured connection leaves the pod (L4 reference §10.2).</summary>
public static class OutboundRouter
{
    /// <summary>Chooses the way out. The order of the steps is the precedence; nothing else is.</summary>
    /// <remarks>Pure but for the draws: no clock, lock or lookup outside <paramref name="mesh"/>.</remarks>
    public static OutboundRoute Decide(MeshSnapshot mesh, Workload source, IPEndPoint destination, OutboundSettings settings)
    {
        var route = DecideOnce(mesh, source, destination, settings);
        // What stands in must be a way; else it is as if nothing were to be avoided.
        return settings.Avoid is not null && (route is OutboundRoute.Refused or OutboundRoute.DoubleHbone) ? DecideOnce(mesh, source, destination, settings with { Avoid = null }) : route;
    }

    private static OutboundRoute DecideOnce(MeshSnapshot mesh, Workload source, IPEndPoint destination, OutboundSettings settings)
    {
        if (IPAddress.IsLoopback(destination.Address) && ProxyPorts.IsIllegal(destination.Port)) return Refuse(CloseReason.SelfCall(destination));
        var (workload, service) = mesh.Find(new NetworkAddress(settings.Network, destination.Address), source.Namespace);
        var request = new Request(mesh, source, destination, settings);
        return (workload, service) switch
        {
            (null, null) => new OutboundRoute.Plaintext(destination, null, null),   // not a mesh address
            (_, { } asked) when WaypointOf(asked, settings) is { } waypoint => ThroughServiceWaypoint(request, asked, waypoint),
            (_, { LoadBalancing.Mode: LoadBalancingMode.Passthrough } asked) => new OutboundRoute.Plaintext(destination, null, asked),
            (_, { } asked) => ToService(request, asked),
            ({ } asked, _) => ToWorkload(request, asked),
        };
    }

    private readonly record struct Request(MeshSnapshot Mesh, Workload Source, IPEndPoint Destination, OutboundSettings Settings);

    private static GatewayAddress? WaypointOf(MeshService service, OutboundSettings settings)
    {
        if (service.WeightedWaypoints.IsEmpty) return service.Waypoint;
        return EndpointSelection.Draw([.. service.WeightedWaypoints.Select(w => (w.Destination, w.Weight))], settings.Random, settings.Trace) ?? service.Waypoint;
    }

    private static OutboundRoute ThroughServiceWaypoint(in Request request, MeshService service, GatewayAddress reference)
    {
        if (ResolveWaypoint(request, reference) is not { } waypoint) return Refuse(UnknownWaypoint(reference, Decider.Of(service)));
        return waypoint.Workload.Network != request.Source.Network
            ? AcrossNetworks(request, service, waypoint.Workload, waypoint.Service)
            : Tunnel(request, waypoint, HboneAuthority.Of(request.Destination), service);
    }

    private static OutboundRoute ToService(in Request request, MeshService service)
    {
        var chosen = EndpointSelection.Choose(request.Mesh, request.Source, service, (ushort)request.Destination.Port, EndpointUse.Standard, request.Settings.Random, request.Settings.Trace, request.Settings.Avoid);
        if (chosen is null) return Refuse(CloseReason.NoHealthyUpstream(request.Destination, service));
        if (chosen.Workload.Network != request.Source.Network) return AcrossNetworks(request, service, chosen.Workload, service);
        return Direct(request, chosen.Workload, chosen.Port, service);
    }

    private static OutboundRoute ToWorkload(in Request request, Workload workload)
    {
        if (workload.Network != request.Source.Network) return Refuse(CloseReason.NoRoute(workload));   // only services are carried across networks
        // A waypoint's own traffic must not be sent back to it.
        if (workload.Waypoint is { } reference && !GatewayResolution.IsPartOf(request.Mesh, request.Source, reference))
        {
            return ResolveWaypoint(request, reference) is { } waypoint
                ? Tunnel(request, waypoint, HboneAuthority.Of(request.Destination), null)
                : Refuse(UnknownWaypoint(reference, Decider.Of(workload)));
        }
        return Direct(request, workload, (ushort)request.Destination.Port, null);
    }

    private static OutboundRoute Direct(in Request request, Workload workload, ushort port, MeshService? service)
    {
        var families = service?.IpFamilies ?? IpFamilies.Automatic;
        if (workload.AddressFor(request.Destination.Address, families) is { } known) return At(known);
        return IsFoundByName(workload) ? new OutboundRoute.ByName(workload, request.Destination.AddressFamily, families, At) : Refuse(CloseReason.NoAddress(workload));

        OutboundRoute At(IPAddress address) => workload.SpeaksHbone
            ? new OutboundRoute.Hbone(new IPEndPoint(address, Workload.HbonePort), GatewayResolution.Identities(service, workload), HboneAuthority.Of(new IPEndPoint(address, port)), workload, service)
            : new OutboundRoute.Plaintext(new IPEndPoint(address, port), workload, service);
    }

    private static bool IsFoundByName(Workload workload) => workload.Addresses.IsEmpty && workload.Hostname.Length > 0;

    private static OutboundRoute Tunnel(in Request request, ResolvedGateway waypoint, HboneAuthority authority, MeshService? service)
    {
        if (waypoint.Address is { } known) return At(known);
        return IsFoundByName(waypoint.Workload)
            ? new OutboundRoute.ByName(waypoint.Workload, request.Destination.AddressFamily, waypoint.Service?.IpFamilies ?? IpFamilies.Automatic, At)
            : Refuse(CloseReason.NoAddress(waypoint.Workload));

        OutboundRoute At(IPAddress address) => new OutboundRoute.Hbone(new IPEndPoint(address, waypoint.Port), waypoint.Identities, authority, waypoint.Workload, service);
    }

    private static OutboundRoute AcrossNetworks(in Request request, MeshService asked, Workload remote, MeshService? end)
    {
        if (remote.NetworkGateway is not { } reference) return Refuse(CloseReason.NoRoute(remote));
        var gateway = GatewayResolution.Resolve(request.Mesh, request.Source, reference, request.Destination.Address, EndpointUse.Standard, request.Settings);
        if (gateway is not { Address: { } address }) return Refuse(CloseReason.UnknownNetworkGateway(GatewayResolution.Describe(reference), remote));
        if (!HboneAuthority.TryParse($"{asked.Hostname}:{request.Destination.Port}", out var authority)) return Refuse(CloseReason.NoRoute(remote));
        return new OutboundRoute.DoubleHbone(new IPEndPoint(address, gateway.Port), gateway.Identities, authority, end?.SubjectAltNames ?? [], remote, asked);
    }

    private static ResolvedGateway? ResolveWaypoint(in Request request, GatewayAddress reference) =>
        GatewayResolution.Resolve(request.Mesh, request.Source, reference, request.Destination.Address, EndpointUse.Waypoint, request.Settings);

    private static CloseReason UnknownWaypoint(GatewayAddress reference, Decider user) => CloseReason.UnknownWaypoint(GatewayResolution.Describe(reference), user);

    private static OutboundRoute.Refused Refuse(CloseReason reason) => new(reason);
}
