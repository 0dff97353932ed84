using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using Google.Protobuf;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.Model.Decoding;

/// <summary>Turns wire workloads and services into parsed ones; what a proxy could misread is refused with a reason (L4 reference §4.6).</summary>
public static class AddressDecoding
{
    /// <summary>Parses a workload; on failure <paramref name="reason"/> is what the control plane is told.</summary>
    public static bool TryDecode(Wds.Workload wire, [NotNullWhen(true)] out Workload? workload, [NotNullWhen(false)] out string? reason)
    {
        try
        {
            workload = Decode(wire);
            reason = null;
            return true;
        }
        catch (UnusableResourceException e)
        {
            (workload, reason) = (null, e.Message);
            return false;
        }
    }

    /// <summary>Parses a service; on failure <paramref name="reason"/> is what the control plane is told.</summary>
    public static bool TryDecode(Wds.Service wire, [NotNullWhen(true)] out MeshService? service, [NotNullWhen(false)] out string? reason)
    {
        try
        {
            service = Decode(wire);
            reason = null;
            return true;
        }
        catch (UnusableResourceException e)
        {
            (service, reason) = (null, e.Message);
            return false;
        }
    }

    private static Workload Decode(Wds.Workload wire)
    {
        if (Known(wire.TunnelProtocol) == Wds.TunnelProtocol.LegacyIstioMtls)
            throw new UnusableResourceException("unknown enum: unsupported tunnel protocol: legacy istio mtls");
        return new Workload
        {
            Uid = wire.Uid,
            Name = wire.Name,
            Namespace = string.Intern(wire.Namespace),
            TrustDomain = OrDefault(wire.TrustDomain, "cluster.local"),
            ServiceAccount = OrDefault(wire.ServiceAccount, "default"),
            Network = string.Intern(wire.Network),
            ClusterId = OrDefault(wire.ClusterId, "Kubernetes"),
            Node = string.Intern(wire.Node),
            Hostname = wire.Hostname,
            Addresses = [.. wire.Addresses.Select(Address)],
            SpeaksHbone = wire.TunnelProtocol == Wds.TunnelProtocol.Hbone,
            NativeTunnel = wire.NativeTunnel,
            Waypoint = Gateway(wire.Waypoint),
            NetworkGateway = Gateway(wire.NetworkGateway),
            ApplicationTunnel = wire.ApplicationTunnel is { } tunnel ? new ApplicationTunnel(Known(tunnel.Protocol) == Wds.ApplicationTunnel.Types.Protocol.Proxy, Port(tunnel.Port)) : null,
            IsHealthy = Known(wire.Status) == Wds.WorkloadStatus.Healthy,
            IsHostNetwork = Known(wire.NetworkMode) == Wds.NetworkMode.HostNetwork,
            Locality = wire.Locality is { } place ? new Locality(string.Intern(place.Region), string.Intern(place.Zone), string.Intern(place.Subzone)) : Locality.None,
            Capacity = wire.Capacity ?? 1,
            CanonicalName = wire.CanonicalName,
            CanonicalRevision = string.Intern(wire.CanonicalRevision),
            WorkloadName = wire.WorkloadName,
            Kind = (WorkloadKind)Known(wire.WorkloadType),
            Policies = [.. wire.AuthorizationPolicies.Select(PolicyNameOf)],
            Services = [.. wire.Services.Select(pair => (ServiceNameOf(pair.Key), Ports(pair.Value.Ports)))],
        };
    }

    private static MeshService Decode(Wds.Service wire)
    {
        var vips = ImmutableArray.CreateBuilder<NetworkAddress>();
        var ranges = ImmutableArray.CreateBuilder<NetworkCidr>();
        foreach (var address in wire.Addresses)
        {
            var parsed = NetworkAddressOf(address);
            if (!address.HasLength) vips.Add(parsed);
            else ranges.Add(new NetworkCidr(parsed.Network, Range(parsed.Address, address.Length)));
        }
        return new MeshService
        {
            Name = wire.Name,
            Namespace = string.Intern(wire.Namespace),
            Hostname = wire.Hostname,
            Vips = vips.ToImmutable(),
            CidrVips = ranges.ToImmutable(),
            Ports = Ports(wire.Ports),
            SubjectAltNames = [.. Identities(wire.SubjectAltNames)],
            Waypoint = Gateway(wire.Waypoint),
            WeightedWaypoints = [.. wire.WeightedWaypoints.Select(w => new WeightedWaypoint(Gateway(w.Destination) ?? throw new UnusableResourceException("weighted waypoint without destination"), w.Weight))],
            LoadBalancing = Balancing(wire.LoadBalancing),
            IpFamilies = (IpFamilies)Known(wire.IpFamilies),
            IsCanonical = wire.Canonical,
            IsNamespacePrivate = Known(wire.Visibility) == Wds.Service.Types.Visibility.Namespace,
        };
    }

    private static LoadBalancing Balancing(Wds.LoadBalancing? wire) => wire is null ? LoadBalancing.Default : new LoadBalancing
    {
        Mode = (LoadBalancingMode)Known(wire.Mode),
        Preference = [.. wire.RoutingPreference.Select(scope => (LocalityScope)Known(scope))],
        AllowsUnhealthy = Known(wire.HealthPolicy) == Wds.LoadBalancing.Types.HealthPolicy.AllowAll,
    };

    private static GatewayAddress? Gateway(Wds.GatewayAddress? wire) => wire switch
    {
        null => null,
        { DestinationCase: Wds.GatewayAddress.DestinationOneofCase.Hostname, Hostname: var name } =>
            new GatewayAddress.ByHostname(new ServiceName(name.Namespace, name.Hostname), Port(wire.HboneMtlsPort)),
        { DestinationCase: Wds.GatewayAddress.DestinationOneofCase.Address, Address: var address } =>
            new GatewayAddress.ByAddress(NetworkAddressOf(address), Port(wire.HboneMtlsPort)),
        _ => throw new UnusableResourceException("gateway address without destination"),
    };

    private static NetworkAddress NetworkAddressOf(Wds.NetworkAddress wire) => new(string.Intern(wire.Network), Address(wire.Address));

    private static IPAddress Address(ByteString bytes) => WireValues.Address(bytes);

    private static IPNetwork Range(IPAddress address, uint length) => WireValues.Range(address, length);

    private static ushort Port(uint port) => WireValues.Port(port);

    private static T Known<T>(T value) where T : struct, Enum => WireValues.Known(value);

    private static PortMap Ports(IEnumerable<Wds.Port> ports) => new(ports.Select(p => (Port(p.ServicePort), Port(p.TargetPort))));

    private static IEnumerable<SpiffeId> Identities(IEnumerable<string> names)
    {
        // A name that is no SPIFFE ID can never equal one: leaving it out admits nobody.
        foreach (var name in names)
            if (SpiffeId.TryParse(name, out var id)) yield return id;
    }

    private static ServiceName ServiceNameOf(string text) =>
        ServiceName.TryParse(text, out var name) ? name : throw new UnusableResourceException($"failed to parse namespaced hostname: {text}");

    private static PolicyName PolicyNameOf(string text) =>
        PolicyName.TryParse(text, out var name) ? name : throw new UnusableResourceException($"failed to parse policy name: {text}");

    private static string OrDefault(string value, string fallback) => value.Length == 0 ? fallback : string.Intern(value);
}
