using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Network;

/// <summary>The nftables rules by which a node turns service addresses into endpoint addresses, as kube-proxy does. Pure: services and slices in, text out.</summary>
/// <remarks>
/// A connection to a service address goes to one ready endpoint chosen at random, or is rejected when there is none. The source stays the pod's,
/// except where the answer would not come back this way: a pod that reaches itself, and clients that are not pods or nodes.
/// </remarks>
internal static class ServiceRules
{
    public const string Table = "mesh-lab-services";

    /// <param name="services">v1 Services.</param>
    /// <param name="slices">EndpointSlices; those of unknown services are passed over.</param>
    /// <param name="node">Name of the node the rules are for; node ports and local policies refer to it.</param>
    public static string For(IEnumerable<JsonObject> services, IEnumerable<JsonObject> slices, string node)
    {
        var bySource = slices.ToLookup(s => $"{s.Namespace()}/{s.Labels().GetValueOrDefault("kubernetes.io/service-name")}");
        var text = new StringBuilder($"table inet {Table} {{}}\ndelete table inet {Table}\ntable inet {Table} {{\n");
        var (chains, dispatch, rejects) = (new List<string>(), new StringBuilder(), new StringBuilder());
        foreach (var service in services.OrderBy(s => $"{s.Namespace()}/{s.Name()}", StringComparer.Ordinal))
        {
            var own = bySource[$"{service.Namespace()}/{service.Name()}"].ToArray();
            foreach (var port in service.Objects("spec", "ports"))
                foreach (var address in service.Texts("spec", "clusterIPs").Where(a => IPAddress.TryParse(a, out _)))
                    Port(service, port, address, own, node, chains, dispatch, rejects);
        }
        text.Append(string.Concat(chains));
        text.Append($$"""
              chain services {
            {{dispatch}}  }
              chain prerouting {
                type nat hook prerouting priority -100; policy accept;
                jump services
              }
              chain output {
                type nat hook output priority -100; policy accept;
                jump services
              }
              chain postrouting {
                type nat hook postrouting priority 100; policy accept;
                meta mark & 0x00004000 == 0x00004000 meta mark set meta mark & 0xffffbfff masquerade
              }
              chain rejects {
            {{rejects}}  }
              chain forward {
                type filter hook forward priority 0; policy accept;
                ct state new jump rejects
              }
              chain local {
                type filter hook output priority 0; policy accept;
                ct state new jump rejects
              }
            }

            """);
        return text.ToString();
    }

    private static void Port(
        JsonObject service, JsonObject port, string address, JsonObject[] slices, string node, List<string> chains, StringBuilder dispatch, StringBuilder rejects)
    {
        var v6 = IPAddress.Parse(address).AddressFamily == AddressFamily.InterNetworkV6;
        var (family, protocol, number) = (v6 ? "ip6" : "ip", (port.Text("protocol") ?? "TCP").ToLowerInvariant(), port.Number("port"));
        var match = $"{family} daddr {address} {protocol} dport {number}";
        var endpoints = Endpoints(service, port, slices, v6 ? "IPv6" : "IPv4", node).Distinct().Order(StringComparer.Ordinal).ToArray();
        if (endpoints.Length == 0)
        {
            rejects.AppendLine($"    {match} {(protocol == "tcp" ? "reject with tcp reset" : "reject")} comment \"{service.Namespace()}/{service.Name()} has no endpoint\"");
            return;
        }
        var chain = $"svc-{chains.Count}";
        var body = new StringBuilder();
        for (var i = 0; i < endpoints.Length; i++)
        {
            // A pod that is chosen for its own call must see it come from the node, or its answer would not pass here again.
            body.AppendLine($"  chain {chain}-{i} {{")
                .AppendLine($"    {family} saddr {Host(endpoints[i])} meta mark set meta mark | 0x00004000")
                .AppendLine($"    meta l4proto {protocol} dnat {family} to {endpoints[i]}")
                .AppendLine("  }");
        }
        var targets = string.Join(", ", endpoints.Select((_, i) => $"{i} : jump {chain}-{i}"));
        body.AppendLine($"  chain {chain} {{").AppendLine($"    numgen random mod {endpoints.Length} vmap {{ {targets} }}").AppendLine("  }");
        chains.Add(body.ToString());
        var comment = $"comment \"{service.Namespace()}/{service.Name()}\"";
        dispatch.AppendLine($"    {match} jump {chain} {comment}");
        if (port.Number("nodePort") is { } nodePort)
            dispatch.AppendLine($"    meta nfproto {(v6 ? "ipv6" : "ipv4")} fib daddr type local {protocol} dport {nodePort} meta mark set meta mark | 0x00004000 jump {chain} {comment}");
    }

    private static IEnumerable<string> Endpoints(JsonObject service, JsonObject port, JsonObject[] slices, string addressType, string node)
    {
        var local = service.Text("spec", "internalTrafficPolicy") == "Local";
        foreach (var slice in slices.Where(s => s.Text("addressType") == addressType))
        {
            var target = slice.Objects("ports").FirstOrDefault(p => (p.Text("name") ?? "") == (port.Text("name") ?? "") && (p.Text("protocol") ?? "TCP") == (port.Text("protocol") ?? "TCP"));
            if (target.Number("port") is not { } number) continue;
            foreach (var endpoint in slice.Objects("endpoints").Where(e => e.Flag("conditions", "ready") != false && (!local || e.Text("nodeName") == node)))
                foreach (var address in endpoint.Texts("addresses")) yield return addressType == "IPv6" ? $"[{address}]:{number}" : $"{address}:{number}";
        }
    }

    private static string Host(string endpoint) => endpoint.StartsWith('[') ? endpoint[1..endpoint.IndexOf(']')] : endpoint[..endpoint.LastIndexOf(':')];
}
