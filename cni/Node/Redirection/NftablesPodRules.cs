using System.Text;
using static AmbientMesh.Cni.Node.Redirection.RedirectSettings;

namespace AmbientMesh.Cni.Node.Redirection;

/// <summary>The redirect rules inside a pod's namespace as nftables, family inet. Source: reference 8.5; the numbers are the rows of 8.2.</summary>
/// <remarks>Pure. The script replaces our tables in one transaction, so a repair leaves no moment in which a captured pod is open.</remarks>
public static class NftablesPodRules
{
    public const string Family = "inet";
    public const string NatTable = "istio-ambient-nat";
    public const string MangleTable = "istio-ambient-mangle";
    public const string RawTable = "istio-ambient-raw";

    public static readonly string[] TableNames = [MangleTable, NatTable, RawTable];

    private const string NotProxy = "meta mark & 0x00000fff != 0x00000539";
    private const string IsProxy = "meta mark & 0x00000fff == 0x00000539";

    /// <summary>A script for <c>nft -f</c> that puts exactly these rules in place.</summary>
    public static string Install(RedirectSettings settings, PodRedirectOptions pod)
    {
        var script = new StringBuilder(Remove());
        Table(script, MangleTable, ("filter", "-150", MangleIn()), ("route", "-150", MangleOut()));
        Table(script, NatTable, ("nat", "-100", NatIn(settings, pod)), ("nat", "-100", NatOut(settings, pod)));
        if (pod.CapturesDns) Table(script, RawTable, ("filter", "-300", RawIn()), ("filter", "-300", RawOut()));
        return script.ToString();
    }

    /// <summary>A script that takes our tables out, also when there are none.</summary>
    public static string Remove() =>
        string.Concat(TableNames.Select(table => $"add table {Family} {table}\ndelete table {Family} {table}\n"));

    private static IEnumerable<string> MangleIn()
    {
        yield return $"{IsProxy} counter ct mark set ct mark & 0xfffff000 | 0x00000111";   // 1
    }

    private static IEnumerable<string> MangleOut()
    {
        yield return "ct mark & 0x00000fff == 0x00000111 counter meta mark set ct mark";   // 2
    }

    private static IEnumerable<string> NatIn(RedirectSettings settings, PodRedirectOptions pod)
    {
        if (pod.IsReleased) yield break;   // connections under way are known to the kernel and need no rule
        foreach (var name in pod.RerouteInterfaces)
        {
            yield return $"iifname \"{name}\" meta l4proto tcp counter redirect to :{OutboundPort}";   // 3
            yield return $"iifname \"{name}\" meta l4proto tcp counter return";                       // 4
        }
        if (pod.BypassesInbound) yield break;
        yield return $"ip saddr {settings.ProbeAddress} meta l4proto tcp counter accept";   // 5
        if (settings.RedirectsIpv6) yield return $"ip6 saddr {settings.ProbeAddressV6} meta l4proto tcp counter accept";
        foreach (var outside in NotLoopback(settings))
            yield return $"{outside} tcp dport != {HbonePort} {NotProxy} counter redirect to :{InboundPort}";   // 7
    }

    private static IEnumerable<string> NatOut(RedirectSettings settings, PodRedirectOptions pod)
    {
        if (pod.IsReleased) yield break;
        yield return $"ip daddr {settings.ProbeAddress} meta l4proto tcp counter accept";   // 6
        if (settings.RedirectsIpv6) yield return $"ip6 daddr {settings.ProbeAddressV6} meta l4proto tcp counter accept";
        if (pod.CapturesDns)
        {
            yield return $"{Protocol(settings)}oifname != \"lo\" udp dport 53 {NotProxy} counter redirect to :{DnsPort}";   // 8
            foreach (var outside in NotLoopback(settings)) yield return $"{outside} tcp dport 53 {NotProxy} counter redirect to :{DnsPort}";   // 9
        }
        yield return $"meta l4proto tcp meta mark & 0x00000fff == 0x00000111 counter accept";   // 10
        foreach (var outside in NotLoopback(settings)) yield return $"oifname \"lo\" {outside} counter accept";   // 11
        foreach (var outside in NotLoopback(settings)) yield return $"{outside} meta l4proto tcp {NotProxy} counter redirect to :{OutboundPort}";   // 12
    }

    private static IEnumerable<string> RawOut()
    {
        yield return $"udp dport 53 {IsProxy} counter ct zone set 1";   // 13
    }

    private static IEnumerable<string> RawIn()
    {
        yield return $"udp sport 53 {NotProxy} counter ct zone set 1";   // 14
    }

    private static IEnumerable<string> NotLoopback(RedirectSettings settings)
    {
        yield return "ip daddr != 127.0.0.1";
        if (settings.RedirectsIpv6) yield return "ip6 daddr != ::1";
    }

    private static string Protocol(RedirectSettings settings) => settings.RedirectsIpv6 ? "" : "meta nfproto ipv4 ";

    private static void Table(StringBuilder script, string name, (string Type, string Priority, IEnumerable<string> Rules) prerouting, (string Type, string Priority, IEnumerable<string> Rules) output)
    {
        script.Append($"table {Family} {name} {{\n");
        Chain(script, "prerouting", prerouting.Type, prerouting.Priority, prerouting.Rules);
        Chain(script, "output", output.Type, output.Priority, output.Rules);
        script.Append("}\n");
    }

    private static void Chain(StringBuilder script, string hook, string type, string priority, IEnumerable<string> rules)
    {
        script.Append($"  chain istio-{hook} {{\n");
        foreach (var rule in rules) script.Append($"    {rule}\n");
        script.Append("  }\n");
        script.Append($"  chain {hook} {{\n    type {type} hook {hook} priority {priority}; policy accept;\n    jump istio-{hook}\n  }}\n");
    }
}
