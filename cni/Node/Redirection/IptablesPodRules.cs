using System.Net.Sockets;
using static AmbientMesh.Cni.Node.Redirection.RedirectSettings;

namespace AmbientMesh.Cni.Node.Redirection;

/// <summary>The rules of one iptables table, in order, as <c>iptables-save</c> prints them.</summary>
public sealed record IptablesTable(string Name, IReadOnlyList<string> Rules);

/// <summary>The redirect rules inside a pod's namespace, for iptables and ip6tables. Source: reference 8.2; the numbers are its rows.</summary>
/// <remarks>Pure. Order inside a chain is significant.</remarks>
public static class IptablesPodRules
{
    public const string Prerouting = "ISTIO_PRERT";
    public const string Output = "ISTIO_OUTPUT";

    /// <summary>The tables that are ever touched, in the order they are written.</summary>
    public static readonly string[] TableNames = ["mangle", "nat", "raw"];

    /// <summary>Every table with the rules it must hold; none for a table that must be free of ours.</summary>
    public static IReadOnlyList<IptablesTable> For(AddressFamily family, RedirectSettings settings, PodRedirectOptions pod)
    {
        var v6 = family == AddressFamily.InterNetworkV6;
        var loopback = v6 ? "::1/128" : "127.0.0.1/32";
        var probe = v6 ? $"{settings.ProbeAddressV6}/128" : $"{settings.ProbeAddress}/32";
        return [new("mangle", [.. Mangle()]), new("nat", [.. Nat(loopback, probe, pod)]), new("raw", [.. Raw(pod)])];
    }

    private static IEnumerable<string> Mangle()
    {
        yield return $"-A {Prerouting} -m mark --mark {Proxy} -j CONNMARK --set-xmark {Connection}";                                     // 1
        yield return $"-A {Output} -m connmark --mark {Connection} -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff";  // 2
    }

    private static IEnumerable<string> Nat(string loopback, string probe, PodRedirectOptions pod)
    {
        if (pod.IsReleased) yield break;   // connections under way are known to the kernel and need no rule
        foreach (var name in pod.RerouteInterfaces)
        {
            yield return $"-A {Prerouting} -i {name} -p tcp -j REDIRECT --to-ports {OutboundPort}";   // 3
            yield return $"-A {Prerouting} -i {name} -p tcp -j RETURN";                              // 4
        }
        if (!pod.BypassesInbound) yield return $"-A {Prerouting} -s {probe} -p tcp -m tcp -j ACCEPT";   // 5
        yield return $"-A {Output} -d {probe} -p tcp -m tcp -j ACCEPT";                                 // 6
        if (!pod.BypassesInbound)
            yield return $"-A {Prerouting} ! -d {loopback} -p tcp -m tcp ! --dport {HbonePort} -m mark ! --mark {Proxy} -j REDIRECT --to-ports {InboundPort}";   // 7
        if (pod.CapturesDns)
        {
            yield return $"-A {Output} ! -o lo -p udp -m mark ! --mark {Proxy} -m udp --dport 53 -j REDIRECT --to-ports {DnsPort}";         // 8
            yield return $"-A {Output} ! -d {loopback} -p tcp -m tcp --dport 53 -m mark ! --mark {Proxy} -j REDIRECT --to-ports {DnsPort}";  // 9
        }
        yield return $"-A {Output} -p tcp -m mark --mark {Connection} -j ACCEPT";                                                // 10
        yield return $"-A {Output} ! -d {loopback} -o lo -j ACCEPT";                                                             // 11
        yield return $"-A {Output} ! -d {loopback} -p tcp -m mark ! --mark {Proxy} -j REDIRECT --to-ports {OutboundPort}";   // 12
    }

    private static IEnumerable<string> Raw(PodRedirectOptions pod)
    {
        if (!pod.CapturesDns) yield break;
        yield return $"-A {Output} -p udp -m mark --mark {Proxy} -m udp --dport 53 -j CT --zone 1";          // 13
        yield return $"-A {Prerouting} -p udp -m mark ! --mark {Proxy} -m udp --sport 53 -j CT --zone 1";   // 14
    }

    private static string Proxy => $"0x{ProxyMark:x}/0x{MarkMask:x}";
    private static string Connection => $"0x{ConnectionMark:x}/0x{MarkMask:x}";
}
