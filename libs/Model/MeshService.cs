using System.Collections.Immutable;
using System.Net;

namespace AmbientMesh.Model;

/// <summary>A service: hostname, VIPs and ports, parsed (L4 reference §4.7). Immutable; compared by reference. Its endpoints are in the snapshot.</summary>
public sealed class MeshService
{
    public string Name { get; init; } = "";
    public required string Namespace { get; init; }
    public required string Hostname { get; init; }
    public ImmutableArray<NetworkAddress> Vips { get; init; } = [];
    public ImmutableArray<NetworkCidr> CidrVips { get; init; } = [];
    public PortMap Ports { get; init; }

    /// <summary>Identities its endpoints may have besides their own.</summary>
    public ImmutableArray<SpiffeId> SubjectAltNames { get; init; } = [];
    public GatewayAddress? Waypoint { get; init; }

    /// <summary>Waypoints to choose from per connection; they go before <see cref="Waypoint"/>.</summary>
    public ImmutableArray<WeightedWaypoint> WeightedWaypoints { get; init; } = [];
    public LoadBalancing LoadBalancing { get; init; } = LoadBalancing.Default;
    public IpFamilies IpFamilies { get; init; }

    /// <summary>The preferred owner of a hostname or VIP several services claim.</summary>
    public bool IsCanonical { get; init; }

    /// <summary>Only clients of its own namespace see it.</summary>
    public bool IsNamespacePrivate { get; init; }

    public ServiceName Key => new(Namespace, Hostname);

    public bool IsVisibleTo(string clientNamespace) => !IsNamespacePrivate || clientNamespace == Namespace;

    public override string ToString() => Key.ToString();
}

public readonly record struct WeightedWaypoint(GatewayAddress Destination, uint Weight);

/// <summary>A range of virtual addresses on one network.</summary>
public readonly record struct NetworkCidr(string Network, IPNetwork Range)
{
    public bool Contains(NetworkAddress address) => address.Network == Network && Range.Contains(address.Address);
    public override string ToString() => $"{Network}/{Range}";
}

/// <summary>How endpoints are chosen (L4 reference §10.4). Immutable; compared by reference.</summary>
public sealed class LoadBalancing
{
    public static LoadBalancing Default { get; } = new();

    public LoadBalancingMode Mode { get; init; }
    public ImmutableArray<LocalityScope> Preference { get; init; } = [];
    public bool AllowsUnhealthy { get; init; }
}

public enum LoadBalancingMode { Any, Strict, Failover, Passthrough }

public enum LocalityScope { Unspecified, Region, Zone, Subzone, Node, Cluster, Network }
