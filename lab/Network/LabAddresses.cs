using System.Net;

namespace AmbientMesh.Lab.Network;

/// <summary>Which addresses a lab has.</summary>
public enum AddressFamilies
{
    /// <summary>Nodes and pods have both, services IPv4 unless they ask for more.</summary>
    Dual,

    /// <summary>Nothing has an IPv4 address but loopback.</summary>
    Ipv6,
}

/// <summary>Who has which address. The same in every lab: each has a wire of its own, and nothing of it is routed to the machine.</summary>
public static class LabAddresses
{
    public const int MaximumNodes = 200;

    /// <summary>The fabric's own address, where pods and nodes find the API server and the cluster DNS.</summary>
    public static IPAddress Fabric { get; } = IPAddress.Parse("172.18.0.1");
    public static IPAddress FabricV6 { get; } = IPAddress.Parse("fd00:172:18::1");

    public const int ApiServerPort = 6443;
    public const int DnsPort = 53;

    public static IPAddress ApiService { get; } = IPAddress.Parse("10.96.0.1");
    public static IPAddress ApiServiceV6 { get; } = IPAddress.Parse("fd00:10:96::1");
    public static IPAddress DnsService { get; } = IPAddress.Parse("10.96.0.10");
    public static IPAddress DnsServiceV6 { get; } = IPAddress.Parse("fd00:10:96::a");
    public const string ClusterDomain = "cluster.local";

    public const string ServiceCidr = "10.96.0.0/16";
    public const string ServiceCidrV6 = "fd00:10:96::/112";
    public const string PodCidr = "10.244.0.0/16";
    public const string PodCidrV6 = "fd00:10:244::/48";

    /// <summary>Address of the node with that number, counted from 1.</summary>
    public static IPAddress Node(int number) => IPAddress.Parse($"172.18.0.{number + 1}");
    public static IPAddress NodeV6(int number) => IPAddress.Parse($"fd00:172:18::{number + 1:x}");

    /// <summary>The fabric's addresses, the first of them the one that is told.</summary>
    public static IReadOnlyList<IPAddress> FabricAddresses(AddressFamilies families) => families == AddressFamilies.Ipv6 ? [FabricV6] : [Fabric, FabricV6];

    /// <summary>The node's addresses, the first of them its main one.</summary>
    public static IReadOnlyList<IPAddress> NodeAddresses(int number, AddressFamilies families) => families == AddressFamilies.Ipv6 ? [NodeV6(number)] : [Node(number), NodeV6(number)];

    public static IReadOnlyList<string> NodePodCidrs(int number, AddressFamilies families) => families == AddressFamilies.Ipv6 ? [NodePodCidrV6(number)] : [NodePodCidr(number), NodePodCidrV6(number)];

    /// <summary>Where services get their addresses; the first is the one of services that do not say.</summary>
    public static IReadOnlyList<string> ServiceCidrs(AddressFamilies families) => families == AddressFamilies.Ipv6 ? [ServiceCidrV6] : [ServiceCidr, ServiceCidrV6];

    public static IPAddress DnsServiceOf(AddressFamilies families) => families == AddressFamilies.Ipv6 ? DnsServiceV6 : DnsService;

    public static string NodePodCidr(int number) => $"10.244.{number}.0/24";
    public static string NodePodCidrV6(int number) => $"fd00:10:244:{number:x}::/64";

    /// <summary>The node's bridge address, from which its kubelet probes.</summary>
    public static IPAddress PodGateway(int number) => IPAddress.Parse($"10.244.{number}.1");
}
