using System.Collections.Immutable;
using System.Net;
using AmbientMesh.Model;

namespace AmbientMesh.Ztunnel.Outbound;

/// <summary>A workload behind a gateway reference, the port to dial, and who it may be.</summary>
internal sealed record ResolvedGateway(Workload Workload, ushort Port, IPAddress? Address, ImmutableArray<SpiffeId> Identities, MeshService? Service);

/// <summary>Finds the workload a waypoint or network gateway reference means (L4 reference §10.2). Pure but for the draw.</summary>
internal static class GatewayResolution
{
    /// <summary>Null when the reference leads nowhere; then traffic must not go on without it.</summary>
    public static ResolvedGateway? Resolve(MeshSnapshot mesh, Workload client, GatewayAddress reference, IPAddress requested, EndpointUse use, OutboundSettings settings) => reference switch
    {
        GatewayAddress.ByHostname byName when mesh.FindService(byName.Name) is { } service => OfService(mesh, client, service, byName.Port, requested, use, settings),
        GatewayAddress.ByHostname byName when mesh.FindWorkloadByHostname(byName.Name) is { } workload => OfWorkload(workload, byName.Port, workload.AddressFor(requested, IpFamilies.Automatic)),
        GatewayAddress.ByAddress byAddress when mesh.FindService(byAddress.Address, client.Namespace) is { } service =>
            OfService(mesh, client, service, byAddress.Port, byAddress.Address.Address, use, settings),
        GatewayAddress.ByAddress byAddress when mesh.FindWorkload(byAddress.Address) is { } workload => OfWorkload(workload, byAddress.Port, byAddress.Address.Address),
        _ => null,
    };

    /// <summary>Whether a workload belongs to the gateway a reference means; its own traffic must not be sent back to it.</summary>
    public static bool IsPartOf(MeshSnapshot mesh, Workload workload, GatewayAddress reference) => reference switch
    {
        GatewayAddress.ByHostname byName => mesh.FindEndpoint(byName.Name, workload.Uid) is not null || new ServiceName(workload.Namespace, workload.Hostname) == byName.Name,
        GatewayAddress.ByAddress byAddress => OwnsAddress(mesh, workload, byAddress.Address),
        _ => false,
    };

    /// <summary>For the message when it is not found.</summary>
    public static string Describe(GatewayAddress reference) => reference switch
    {
        GatewayAddress.ByHostname byName => byName.Name.Hostname,
        GatewayAddress.ByAddress byAddress => byAddress.Address.Address.ToString(),
        _ => "",
    };

    private static ResolvedGateway? OfService(MeshSnapshot mesh, Workload client, MeshService service, ushort port, IPAddress requested, EndpointUse use, OutboundSettings settings)
    {
        if (EndpointSelection.Choose(mesh, client, service, port, use, settings.Random, settings.Trace, settings.Avoid) is not { } chosen) return null;
        return new ResolvedGateway(chosen.Workload, chosen.Port, chosen.Workload.AddressFor(requested, service.IpFamilies), Identities(service, chosen.Workload), service);
    }

    private static ResolvedGateway OfWorkload(Workload workload, ushort port, IPAddress? address) => new(workload, port, address, [workload.Identity], null);

    private static bool OwnsAddress(MeshSnapshot mesh, Workload workload, NetworkAddress address) =>
        (workload.Network == address.Network && workload.Addresses.Contains(address.Address)) ||
        (mesh.FindService(address, workload.Namespace) is { } service && mesh.FindEndpoint(service.Key, workload.Uid) is not null);

    /// <summary>What an endpoint of a service may prove to be.</summary>
    public static ImmutableArray<SpiffeId> Identities(MeshService? service, Workload workload)
    {
        var own = workload.Identity;
        if (service is null || service.SubjectAltNames.IsEmpty) return [own];
        return service.SubjectAltNames.Contains(own) ? service.SubjectAltNames : service.SubjectAltNames.Add(own);
    }
}
