using System.Net;
using System.Net.Sockets;
using AmbientMesh.Hbone;
using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Ztunnel.Connections;

namespace AmbientMesh.Ztunnel.Inbound;

/// <summary>What an HBONE request may do at this pod, before policy. Exactly one case holds.</summary>
public abstract record InboundDecision
{
    private InboundDecision() { }

    /// <summary>Connect to the application at <paramref name="Upstream"/>, once policy allows <paramref name="Destination"/>.</summary>
    /// <param name="Destination">The pod's address and the port policies are judged with.</param>
    /// <param name="Upstream">Where bytes go; loopback for an application tunnel.</param>
    /// <param name="ProxyDestination">The original destination to announce in a PROXY header; null when none is sent.</param>
    public sealed record Admitted(IPEndPoint Destination, IPEndPoint Upstream, IPEndPoint? ProxyDestination) : InboundDecision
    {
        /// <summary>Whether the application must see the proxy itself as its peer, not the client.</summary>
        public bool IsFromLoopback => IPAddress.IsLoopback(Upstream.Address);

        /// <summary>What policies are asked about the connection of <paramref name="peer"/> from <paramref name="source"/>.</summary>
        public ConnectionFacts Facts(SpiffeId? peer, IPAddress source) => new(peer, source, Destination);
    }

    /// <summary>Answer with <paramref name="Status"/>; no policy is judged and no byte reaches the application.</summary>
    public sealed record Rejected(int Status, CloseReason Reason) : InboundDecision;
}

/// <summary>What an inbound decision depends on besides the mesh and the request.</summary>
/// <param name="LocalhostAppTunnel">Application tunnels go to loopback.</param>
public sealed record InboundSettings(string Network, string? PreferredServiceNamespace, bool LocalhostAppTunnel);

/// <summary>Checks the authority of a CONNECT and finds the application's address (L4 reference §10.3, HBONE steps 3 to 6). Pure.</summary>
public static class InboundAdmission
{
    /// <summary>Where an admitted request goes, or why it goes nowhere.</summary>
    /// <param name="local">The workload of the pod the connection arrived at.</param>
    /// <param name="localAddress">The pod address the connection was accepted on.</param>
    public static InboundDecision Decide(MeshSnapshot mesh, Workload local, IPAddress localAddress, HboneAuthority authority, InboundSettings settings)
    {
        if (AddressOf(authority) is { } ip && !IsOurs(mesh, local, localAddress, ip, settings)) return Reject(400, CloseReason.AddressMismatch(localAddress, ip));
        if (authority.Address is null && !IsOurService(mesh, local, localAddress, authority.Host, settings)) return Reject(400, CloseReason.ForeignHostname(local, authority.Host));
        if (Port(mesh, local, authority, settings, out var port) is { } problem) return Reject(503, problem);
        if (ProxyPorts.IsIllegalInbound(port)) return Reject(503, CloseReason.SelfCall(new IPEndPoint(localAddress, port)));
        return Admit(mesh, local, localAddress, authority, port, settings);
    }

    private static IPAddress? AddressOf(HboneAuthority authority) => authority.Address is { IsIPv4MappedToIPv6: true } mapped ? mapped.MapToIPv4() : authority.Address;

    private static bool IsOurs(MeshSnapshot mesh, Workload local, IPAddress localAddress, IPAddress asked, InboundSettings settings)
    {
        if (asked.Equals(localAddress) || local.ApplicationTunnel is not null) return true;
        // The address of something this pod is the waypoint of.
        var (workload, service) = mesh.Find(new NetworkAddress(settings.Network, asked), local.Namespace);
        return service is not null ? IsWaypointOf(mesh, local, localAddress, service) : workload?.Waypoint is { } waypoint && IsWaypoint(mesh, local, localAddress, waypoint);
    }

    /// <summary>Whether the pod stands behind the service of that name or before it as its waypoint. A name nobody has is left to the search for its port.</summary>
    private static bool IsOurService(MeshSnapshot mesh, Workload local, IPAddress localAddress, string host, InboundSettings settings) =>
        local.ApplicationTunnel is not null
        || mesh.FindService(host, local.Namespace, settings.PreferredServiceNamespace) is not { } service
        || mesh.FindEndpoint(service.Key, local.Uid) is not null
        || IsWaypointOf(mesh, local, localAddress, service);

    private static bool IsWaypointOf(MeshSnapshot mesh, Workload local, IPAddress localAddress, MeshService service)
    {
        foreach (var waypoint in (GatewayAddress?[])[service.Waypoint, .. service.WeightedWaypoints.Select(w => w.Destination)])
            if (waypoint is not null && IsWaypoint(mesh, local, localAddress, waypoint)) return true;
        return false;
    }

    private static bool IsWaypoint(MeshSnapshot mesh, Workload local, IPAddress localAddress, GatewayAddress waypoint) => waypoint switch
    {
        GatewayAddress.ByHostname byName => mesh.FindService(byName.Name) is { } service
            ? mesh.FindEndpoint(service.Key, local.Uid) is not null
            : mesh.FindWorkloadByHostname(byName.Name)?.Uid == local.Uid,
        GatewayAddress.ByAddress byAddress when mesh.FindWorkload(byAddress.Address) is { } workload => workload.Addresses.Contains(localAddress) && workload.Uid == local.Uid,
        GatewayAddress.ByAddress byAddress => mesh.FindService(byAddress.Address, local.Namespace) is { } service && mesh.FindEndpoint(service.Key, local.Uid) is not null,
        _ => false,
    };

    private static CloseReason? Port(MeshSnapshot mesh, Workload local, HboneAuthority asked, InboundSettings settings, out ushort port)
    {
        port = (ushort)asked.Port;
        if (asked.Address is not null) return null;
        var host = asked.Host;
        if (mesh.FindService(host, local.Namespace, settings.PreferredServiceNamespace) is not { } service) return CloseReason.UnknownHostname(host);
        var own = mesh.FindEndpoint(service.Key, local.Uid)?.TargetPort(port);
        if ((own ?? service.Ports.Target(port)) is not ({ } target and > 0)) return CloseReason.UnresolvedPort(service, host, asked.Port);
        port = target;
        return null;
    }

    private static InboundDecision Admit(MeshSnapshot mesh, Workload local, IPAddress localAddress, HboneAuthority asked, ushort port, InboundSettings settings)
    {
        var destination = new IPEndPoint(localAddress, port);
        if (local.ApplicationTunnel is not { } tunnel) return new InboundDecision.Admitted(destination, destination, null);
        var target = settings.LocalhostAppTunnel ? Loopback(localAddress) : localAddress;
        var upstream = new IPEndPoint(target, tunnel.Port > 0 ? tunnel.Port : port);
        return new InboundDecision.Admitted(destination, upstream, tunnel.IsProxyProtocol ? Announced(mesh, local, localAddress, asked, settings) : null);
    }

    /// <summary>For a hostname, a VIP of the service: of our network and IPv4 first.</summary>
    private static IPEndPoint Announced(MeshSnapshot mesh, Workload local, IPAddress localAddress, HboneAuthority asked, InboundSettings settings)
    {
        if (AddressOf(asked) is { } ip) return new IPEndPoint(ip, asked.Port);
        var service = mesh.FindService(asked.Host, local.Namespace, settings.PreferredServiceNamespace);
        var vip = service?.Vips.OrderByDescending(v => v.Network == settings.Network)
            .ThenByDescending(v => v.Address.AddressFamily == AddressFamily.InterNetwork)
            .Select(v => v.Address).FirstOrDefault();
        return new IPEndPoint(vip ?? localAddress, asked.Port);
    }

    private static IPAddress Loopback(IPAddress like) =>
        like.AddressFamily == AddressFamily.InterNetworkV6 ? IPAddress.IPv6Loopback : IPAddress.Loopback;

    private static InboundDecision.Rejected Reject(int status, CloseReason reason) => new(status, reason);
}
