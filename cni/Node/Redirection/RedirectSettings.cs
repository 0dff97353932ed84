using System.Net;
using AmbientMesh.Linux;

namespace AmbientMesh.Cni.Node.Redirection;

/// <summary>What the redirect rules of every pod on the node have in common. Source: reference 8.1.</summary>
public sealed record RedirectSettings
{
    /// <summary>On every packet ztunnel sends inside a pod.</summary>
    public const int ProxyMark = 0x539;

    /// <summary>On every connection ztunnel opened towards the application with the client's address.</summary>
    public const int ConnectionMark = 0x111;

    public const int MarkMask = 0xfff;
    public const int OutboundPort = 15001;
    public const int InboundPort = 15006;
    public const int HbonePort = 15008;
    public const int DnsPort = 15053;

    /// <summary>Brings the application's replies to a spoofed client address back to ztunnel.</summary>
    public static readonly LoopbackRouting ReplyRouting = new(ConnectionMark, MarkMask, Table: 100, Preference: 32764);

    /// <summary>Kubelet probes arrive from here, so that the pod's rules let them through (HOST_PROBE_SNAT_IP).</summary>
    public IPAddress ProbeAddress { get; init; } = IPAddress.Parse("169.254.7.127");

    /// <summary>The same for IPv6 (HOST_PROBE_SNAT_IPV6).</summary>
    public IPAddress ProbeAddressV6 { get; init; } = IPAddress.Parse("fd16:9254:7127:1337:ffff:ffff:ffff:ffff");

    /// <summary>Whether IPv6 is redirected too (AMBIENT_IPV6). A pod with an IPv6 address is refused when it is not.</summary>
    public bool RedirectsIpv6 { get; init; } = true;
}
