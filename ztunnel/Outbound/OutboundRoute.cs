using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using AmbientMesh.Hbone;
using AmbientMesh.Model;
using AmbientMesh.Ztunnel.Connections;

namespace AmbientMesh.Ztunnel.Outbound;

/// <summary>How a captured connection leaves the pod. Exactly one case holds.</summary>
public abstract record OutboundRoute
{
    private OutboundRoute() { }

    /// <summary>Plain TCP: the destination is outside the mesh or does not speak HBONE.</summary>
    /// <param name="Peer">The workload dialled; null when nothing is known about it.</param>
    /// <param name="Service">The service the application asked for; null when it asked for an address that is none.</param>
    public sealed record Plaintext(IPEndPoint Destination, Workload? Peer, MeshService? Service) : OutboundRoute;

    /// <summary>Dial <paramref name="NextHop"/>, accept only <paramref name="Identities"/>, then CONNECT to <paramref name="Authority"/>.</summary>
    /// <param name="Peer">The workload dialled: the destination, or its waypoint.</param>
    /// <param name="Service">The service the application asked for, also when a waypoint is dialled.</param>
    public sealed record Hbone(IPEndPoint NextHop, ImmutableArray<SpiffeId> Identities, HboneAuthority Authority, Workload Peer, MeshService? Service) : OutboundRoute
    {
        /// <summary>The peer is a waypoint: to the destination itself a tunnel asks for that very address.</summary>
        public bool IsThroughWaypoint => !NextHop.Address.Equals(Authority.Address);
    }

    /// <summary>A tunnel within a tunnel through another network's gateway: outer to the gateway, inner end to end.</summary>
    public sealed record DoubleHbone(
        IPEndPoint Gateway, ImmutableArray<SpiffeId> GatewayIdentities, HboneAuthority Authority, ImmutableArray<SpiffeId> InnerIdentities, Workload Peer, MeshService Service) : OutboundRoute;

    /// <summary>The workload has a host name instead of addresses: look it up, then take the way <paramref name="Then"/> gives for one of its addresses.</summary>
    /// <param name="Preferred">Family of the address the application asked for.</param>
    /// <param name="Families">Families the service allows.</param>
    public sealed record ByName(Workload Peer, AddressFamily Preferred, IpFamilies Families, Func<IPAddress, OutboundRoute> Then) : OutboundRoute;

    /// <summary>No bytes leave; the reason is what the access log and the metric show.</summary>
    public sealed record Refused(CloseReason Reason) : OutboundRoute;
}
