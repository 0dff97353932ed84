using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;

namespace AmbientMesh.Model;

/// <summary>A pod, VM or external endpoint, parsed (L4 reference §4.6, §4.7). Immutable; compared by reference.</summary>
public sealed class Workload
{
    public required string Uid { get; init; }
    public string Name { get; init; } = "";
    public string Namespace { get; init; } = "";
    public string TrustDomain { get; init; } = "cluster.local";
    public string ServiceAccount { get; init; } = "default";
    public string Network { get; init; } = "";
    public string ClusterId { get; init; } = "Kubernetes";
    public string Node { get; init; } = "";

    /// <summary>For a workload reached by name; empty for most.</summary>
    public string Hostname { get; init; } = "";
    public ImmutableArray<IPAddress> Addresses { get; init; } = [];

    /// <summary>Whether it accepts HBONE on <see cref="HbonePort"/>; otherwise plain TCP.</summary>
    public bool SpeaksHbone { get; init; }

    /// <summary>Whether the application itself terminates HBONE.</summary>
    public bool NativeTunnel { get; init; }
    public GatewayAddress? Waypoint { get; init; }

    /// <summary>The way into its network; null when it is not behind one.</summary>
    public GatewayAddress? NetworkGateway { get; init; }
    public ApplicationTunnel? ApplicationTunnel { get; init; }
    public bool IsHealthy { get; init; } = true;
    public bool IsHostNetwork { get; init; }
    public Locality Locality { get; init; } = Locality.None;

    /// <summary>Weight in load balancing; 0 takes no traffic.</summary>
    public uint Capacity { get; init; } = 1;
    public string CanonicalName { get; init; } = "";
    public string CanonicalRevision { get; init; } = "";
    public string WorkloadName { get; init; } = "";
    public WorkloadKind Kind { get; init; }

    /// <summary>Names of the WORKLOAD_SELECTOR policies in force for it.</summary>
    public ImmutableArray<PolicyName> Policies { get; init; } = [];

    /// <summary>Services it backs, each with the ports this workload has for them.</summary>
    public ImmutableArray<(ServiceName Service, PortMap Ports)> Services { get; init; } = [];

    public const ushort HbonePort = 15008;

    public SpiffeId Identity => new(TrustDomain, Namespace, ServiceAccount);
    public bool IsPod => Uid.Contains("//Pod/", StringComparison.Ordinal);

    /// <summary>Best answer first when several workloads have one IP: pod with HBONE, pod, HBONE, other.</summary>
    public int AddressRank => (IsPod ? 2 : 0) + (SpeaksHbone ? 1 : 0);

    /// <summary>The address to dial: the requested one when it has it, else one of the allowed families, preferably the requested one's. Null for none.</summary>
    public IPAddress? AddressFor(IPAddress requested, IpFamilies families)
    {
        IPAddress? other = null;
        foreach (var address in Addresses)
        {
            if (address.Equals(requested)) return address;
            if (!families.Allows(address.AddressFamily)) continue;
            if (other is null || (other.AddressFamily != requested.AddressFamily && address.AddressFamily == requested.AddressFamily)) other = address;
        }
        return other;
    }

    public override string ToString() => Uid;
}

/// <summary>The controller kind a workload's name belongs to.</summary>
public enum WorkloadKind { Deployment, CronJob, Pod, Job }

/// <summary>Where a workload runs; empty parts are unknown.</summary>
public sealed record Locality(string Region, string Zone, string Subzone)
{
    public static Locality None { get; } = new("", "", "");
}

/// <summary>How bytes are handed to the application behind a tunnel.</summary>
/// <param name="IsProxyProtocol">A PROXY v2 header comes first.</param>
/// <param name="Port">Port to connect to instead of the requested one; 0 keeps it.</param>
public sealed record ApplicationTunnel(bool IsProxyProtocol, ushort Port);

/// <summary>IP families a service serves.</summary>
public enum IpFamilies { Automatic, IPv4Only, IPv6Only, Dual }

public static class IpFamiliesExtensions
{
    public static bool Allows(this IpFamilies families, AddressFamily family) => families switch
    {
        IpFamilies.IPv4Only => family == AddressFamily.InterNetwork,
        IpFamilies.IPv6Only => family == AddressFamily.InterNetworkV6,
        _ => true,
    };
}
