using System.Text.Json.Nodes;
using AmbientMesh.Lab.Network;
using AmbientMesh.Lab.Nodes;

namespace AmbientMesh.Lab.Tests.Network;

public sealed class ServiceRulesTests
{
    private const string Web = """
        {"metadata":{"name":"web","namespace":"demo"},"spec":{"clusterIPs":["10.96.0.7","fd00:10:96::7"],"ports":[{"name":"http","port":80,"protocol":"TCP","nodePort":30080},{"name":"dns","port":53,"protocol":"UDP"}]}}
        """;

    [Fact]
    public void A_service_address_leads_to_ready_endpoints_of_its_family_only()
    {
        var rules = Rules(Web,
            Slice("IPv4", """{"addresses":["10.244.1.2"],"conditions":{"ready":true}},{"addresses":["10.244.2.2"],"conditions":{"ready":false,"serving":true,"terminating":true}}"""),
            Slice("IPv6", """{"addresses":["fd00:10:244:1::2"],"conditions":{"ready":true}}"""));
        Assert.Contains("ip daddr 10.96.0.7 tcp dport 80 jump", rules);
        Assert.Contains("dnat ip to 10.244.1.2:8080", rules);
        Assert.Contains("dnat ip6 to [fd00:10:244:1::2]:8080", rules);
        Assert.DoesNotContain("10.244.2.2", rules);
        Assert.Contains("fib daddr type local tcp dport 30080", rules);
    }

    [Fact]
    public void A_port_without_ready_endpoint_is_rejected_not_left_hanging()
    {
        var rules = Rules(Web, Slice("IPv4", """{"addresses":["10.244.1.2"],"conditions":{"ready":true}}"""));
        Assert.Contains("ip daddr 10.96.0.7 udp dport 53 reject comment \"demo/web has no endpoint\"", rules);
        Assert.Contains("ip6 daddr fd00:10:96::7 tcp dport 80 reject with tcp reset", rules);
    }

    [Fact]
    public void A_headless_service_has_no_rules()
    {
        var rules = Rules("""{"metadata":{"name":"h","namespace":"demo"},"spec":{"clusterIPs":["None"],"ports":[{"port":80}]}}""", Slice("IPv4", """{"addresses":["10.244.1.2"]}"""));
        Assert.DoesNotContain("10.244.1.2", rules);
        Assert.DoesNotContain("None", rules);
    }

    [Fact]
    public void A_local_policy_leaves_only_the_nodes_own_endpoints()
    {
        var local = Web.Replace("\"ports\"", "\"internalTrafficPolicy\":\"Local\",\"ports\"");
        var rules = Rules(local, Slice("IPv4", """{"addresses":["10.244.1.2"],"nodeName":"node-1"},{"addresses":["10.244.2.2"],"nodeName":"node-2"}"""));
        Assert.Contains("10.244.1.2", rules);
        Assert.DoesNotContain("10.244.2.2", rules);
    }

    [Fact]
    public async Task The_rules_are_accepted_by_nft()
    {
        Assert.SkipUnless(Syscalls.EffectiveUserId == 0, "Needs root: a network namespace.");
        var rules = Rules(Web, Slice("IPv4", """{"addresses":["10.244.1.2"]},{"addresses":["10.244.2.2"]}"""), Slice("IPv6", """{"addresses":["fd00:10:244:1::2"]}"""));
        await HostCommand.CheckAsync(["unshare", "--net", "nft", "-f", "-"], rules + rules, Patience.Token);   // twice: applying again replaces
    }

    private static string Rules(string service, params JsonObject[] slices) => ServiceRules.For([JsonNode.Parse(service)!.AsObject()], slices, "node-1");

    private static JsonObject Slice(string family, string endpoints) => JsonNode.Parse($$$"""
        {"metadata":{"name":"s","namespace":"demo","labels":{"kubernetes.io/service-name":"web"}},"addressType":"{{{family}}}","endpoints":[{{{endpoints}}}],
         "ports":[{"name":"http","protocol":"TCP","port":8080}]}
        """)!.AsObject();
}
