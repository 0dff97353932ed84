using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Translation;

namespace AmbientMesh.ControlPlane.Tests.Policy;

/// <summary>What a ztunnel that holds the translated policies decides.</summary>
public class PolicyDecisionTests
{
    private const string Client = "spiffe://cluster.local/ns/shop/sa/client";
    private const string Stranger = "spiffe://cluster.local/ns/evil/sa/stranger";

    private static PolicyWorld World(string policies = "") => new PolicyWorld().With("""
        kind: Pod
        metadata: {name: web, namespace: shop, labels: {app: web}}
        status: {phase: Running, podIP: 10.244.0.9}
        ---
        kind: Pod
        metadata: {name: db, namespace: shop, labels: {app: db}}
        status: {phase: Running, podIP: 10.244.0.10}
        """ + (policies.Length == 0 ? "" : "\n---\n" + policies));

    private static string Authorization(string name, string spec, string ns = "shop", string extra = "") =>
        $$"""
        kind: AuthorizationPolicy
        metadata: {name: {{name}}, namespace: {{ns}} {{extra}}}
        spec: {{spec}}
        """;

    private static string Peer(string name, string spec, string ns, int created = 1) =>
        $$"""
        kind: PeerAuthentication
        metadata: {name: {{name}}, namespace: {{ns}}, creationTimestamp: '2026-01-0{{created}}T00:00:00Z'}
        spec: {{spec}}
        """;

    private static string All(params string[] documents) => string.Join("\n---\n", documents);

    [Fact]
    [Scenario("L4-090", "L4-091", "L4-092", "L4-093")]
    public void Allow_and_deny_decide_as_written()
    {
        var world = World(Authorization("allow", "{selector: {matchLabels: {app: web}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/client]}}]}]}"));
        Assert.True(world.Allows("shop", "web", Client));
        Assert.Equal("allow policies exist, but none allowed", world.Judge("shop", "web", Stranger).ToString());
        Assert.True(world.Allows("shop", "db", Stranger));   // not selected

        world.With(Authorization("deny", "{action: DENY, rules: [{from: [{source: {namespaces: [shop]}}]}]}"));
        Assert.Equal("explicitly denied by: shop/deny", world.Judge("shop", "web", Client).ToString());

        world.Remove("AuthorizationPolicy", "shop", "deny");
        world.With(Authorization("nobody", "{}"));
        Assert.False(world.Allows("shop", "db", Client));
        Assert.True(world.Allows("shop", "web", Client));
    }

    [Fact]
    [Scenario("L4-095", "L4-096", "L4-097")]
    public void Plaintext_callers_are_nobody_and_ports_are_the_workloads_own()
    {
        var world = World(Authorization("who", "{selector: {matchLabels: {app: web}}, rules: [{from: [{source: {principals: ['*']}}]}]}"));
        Assert.False(world.Allows("shop", "web", null));
        world.With(Authorization("where", "{selector: {matchLabels: {app: web}}, rules: [{from: [{source: {ipBlocks: [10.1.0.0/16]}}]}]}"));
        Assert.True(world.Allows("shop", "web", null, source: "10.1.1.1"));
        Assert.False(world.Allows("shop", "web", null, source: "10.2.1.1"));

        world.With(Authorization("not-me", "{action: DENY, rules: [{from: [{source: {notNamespaces: [shop]}}], to: [{operation: {ports: ['9090']}}]}]}"));
        Assert.False(world.Allows("shop", "db", null, 9090));
        Assert.True(world.Allows("shop", "db", null, 8080));
        Assert.True(world.Allows("shop", "db", Client, 9090));
    }

    [Fact]
    [Scenario("L4-098", "L4-102")]
    public void A_strict_mesh_refuses_plaintext_until_a_namespace_relaxes_it()
    {
        var world = World(Peer("default", "{mtls: {mode: STRICT}}", "istio-system"));
        Assert.Equal("explicitly denied by: istio-system/istio_converted_static_strict", world.Judge("shop", "web", null).ToString());
        Assert.True(world.Allows("shop", "web", Stranger));
        world.With(Peer("relaxed", "{mtls: {mode: PERMISSIVE}}", "shop"));
        Assert.True(world.Allows("shop", "web", null));
        world.Remove("PeerAuthentication", "shop", "relaxed");
        Assert.False(world.Allows("shop", "web", null));
    }

    [Theory]
    [InlineData("STRICT")]
    [InlineData("UNSET")]
    [Scenario("L4-099", "L4-100")]
    public void Exempted_ports_of_a_strict_workload_take_plaintext_and_no_others_do(string mode)
    {
        var world = World(All(
            Peer("default", "{mtls: {mode: STRICT}}", "istio-system"),
            Peer("ports", $"{{selector: {{matchLabels: {{app: web}}}}, mtls: {{mode: {mode}}}, portLevelMtls: {{'18080': {{mode: PERMISSIVE}}, '19090': {{mode: PERMISSIVE}}}}}}", "shop")));
        Assert.Equal(["shop/converted_peer_authentication_ports"], world.NamedBy("shop", "web"));
        Assert.Equal([true, true, false], new[] { 18080, 19090, 8080 }.Select(port => world.Allows("shop", "web", null, port)));
        Assert.True(world.Allows("shop", "web", Client));
        Assert.False(world.Allows("shop", "db", null, 18080));
    }

    [Fact]
    [Scenario("L4-101")]
    public void A_strict_port_of_a_permissive_workload_refuses_plaintext_there_alone()
    {
        var world = World(Peer("ports", "{selector: {matchLabels: {app: web}}, portLevelMtls: {'9090': {mode: STRICT}}}", "shop"));
        Assert.False(world.Allows("shop", "web", null, 9090));
        Assert.True(world.Allows("shop", "web", Client, 9090));
        Assert.True(world.Allows("shop", "web", null, 8080));
    }

    [Fact]
    public void Of_two_on_one_level_the_older_counts()
    {
        var world = World(All(Peer("a-newer", "{mtls: {mode: PERMISSIVE}}", "shop", created: 2), Peer("b-older", "{mtls: {mode: STRICT}}", "shop", created: 1)));
        Assert.False(world.Allows("shop", "web", null));
        Assert.Equal((false, "Overruled"), (world.VerdictOn("shop", "a-newer").IsAccepted, world.VerdictOn("shop", "a-newer").Reason));
        world.Remove("PeerAuthentication", "shop", "b-older");
        Assert.True(world.Allows("shop", "web", null));
        Assert.True(world.VerdictOn("shop", "a-newer").IsAccepted);
    }

    [Fact]
    public void Of_two_with_the_same_selector_the_older_counts_and_the_younger_is_told()
    {
        const string Selector = "selector: {matchLabels: {app: web}}, mtls: ";
        var world = World(All(Peer("a-newer", $"{{{Selector}{{mode: PERMISSIVE}}}}", "shop", created: 2), Peer("b-older", $"{{{Selector}{{mode: STRICT}}}}", "shop", created: 1),
            Peer("c-other", "{selector: {matchLabels: {app: web, tier: x}}, mtls: {mode: STRICT}}", "shop", created: 3)));
        Assert.False(world.Allows("shop", "web", null));
        Assert.Equal((false, "Overruled"), (world.VerdictOn("shop", "a-newer").IsAccepted, world.VerdictOn("shop", "a-newer").Reason));
        Assert.Contains("shop/b-older is older and counts for the same selector", world.VerdictOn("shop", "a-newer").Message, StringComparison.Ordinal);
        Assert.True(world.VerdictOn("shop", "b-older").IsAccepted);
        Assert.True(world.VerdictOn("shop", "c-other").IsAccepted);   // it may select others
        world.Remove("PeerAuthentication", "shop", "b-older");
        Assert.True(world.VerdictOn("shop", "a-newer").IsAccepted);
    }

    [Fact]
    [Scenario("L4-104")]
    public void A_policy_for_a_waypoint_has_no_effect_and_its_author_is_told()
    {
        var world = World(Authorization("at-waypoint", "{targetRefs: [{kind: Service, name: web}], action: DENY, rules: [{}]}"));
        Assert.True(world.Allows("shop", "web", Client));
        Assert.Equal(("WaypointAccepted", false, "TargetNotFound"), (world.VerdictOn("shop", "at-waypoint").ConditionType, world.VerdictOn("shop", "at-waypoint").IsAccepted, world.VerdictOn("shop", "at-waypoint").Reason));
    }

    [Fact]
    [Scenario("L4-105")]
    public void What_only_a_waypoint_could_judge_is_not_allowed_and_does_not_spare_from_denial()
    {
        var world = World(Authorization("get", "{selector: {matchLabels: {app: db}}, rules: [{to: [{operation: {methods: [GET]}}]}]}"));
        Assert.False(world.Allows("shop", "db", Client));
        world.With(Authorization("no-get", "{action: DENY, rules: [{from: [{source: {principals: ['*/sa/stranger']}}], to: [{operation: {methods: [GET]}}]}]}"));
        Assert.False(world.Allows("shop", "web", Stranger));
        Assert.True(world.Allows("shop", "web", Client));
    }

    [Fact]
    [Scenario("L4-107")]
    public void A_dry_run_is_sent_only_when_asked_for_and_then_refuses_nobody()
    {
        var dry = Authorization("dry", "{action: DENY, rules: [{}]}", extra: ", annotations: {istio.io/dry-run: 'true'}");
        var left = World(dry);
        Assert.Empty(left.Objects.Mesh.Authorizations.Items);
        var sent = new PolicyWorld(new MeshScope { SendsDryRunPolicies = true }).With("kind: Pod\nmetadata: {name: web, namespace: shop}\nstatus: {phase: Running, podIP: 10.244.0.9}\n---\n" + dry);
        Assert.True(Assert.Single(sent.Objects.Mesh.Authorizations.Items).Value.DryRun);
        Assert.True(sent.Allows("shop", "web", Client));
    }

    [Fact]
    public void An_unreadable_version_leaves_the_last_good_one_in_force_and_the_others_alone()
    {
        var world = World(Authorization("deny", "{action: DENY, rules: [{}]}"));
        world.With(All(Authorization("deny", "{action: MAYBE}"), Authorization("other", "{selector: {matchLabels: {app: db}}, rules: []}")));
        Assert.Equal("explicitly denied by: shop/deny", world.Judge("shop", "web", Client).ToString());
        Assert.Equal(["shop/other"], world.NamedBy("shop", "db"));
        Assert.Equal("Invalid", world.VerdictOn("shop", "deny").Reason);
        Assert.Single(world.Objects.Failures);
    }

    [Theory]
    [InlineData("{action: MAYBE}", "deny")]
    [InlineData("{action: DENY, rules: nonsense}", "deny")]
    [InlineData("{action: DENY, rules: [{from: nonsense}]}", "deny")]
    [InlineData("{rules: nonsense}", "nothing allowed")]
    [InlineData("{rules: [nonsense]}", "nothing allowed")]
    [InlineData("{selector: {matchLabels: nonsense}, rules: [{}]}", "nothing allowed")]
    [InlineData("{selector: {matchLabels: {app: web}}, rules: {}}", "nothing allowed")]
    public void A_policy_that_could_never_be_read_closes_what_it_could_be_about(string spec, string how)
    {
        var world = World(Authorization("broken", spec));
        Assert.Equal(how == "deny" ? "explicitly denied by: shop/broken" : "allow policies exist, but none allowed", world.Judge("shop", "web", Client).ToString());
        Assert.Equal((false, "Invalid"), (world.VerdictOn("shop", "broken").IsAccepted, world.VerdictOn("shop", "broken").Reason));
        Assert.Equal(spec.Contains("app: web", StringComparison.Ordinal), world.Allows("shop", "db", Client));   // a selector that can be read is kept to

        world.With(Authorization("broken", "{action: DENY, rules: [{from: [{source: {namespaces: [evil]}}]}]}"));
        Assert.True(world.Allows("shop", "web", Client));
        world.With(Authorization("broken", spec));
        Assert.True(world.Allows("shop", "web", Client));   // now there is a good version, which stays
        Assert.False(world.Allows("shop", "web", Stranger));
        world.Remove("AuthorizationPolicy", "shop", "broken");
        Assert.True(world.Allows("shop", "web", Stranger));
    }

    [Fact]
    public void One_unreadable_version_after_another_is_read_as_closed_each_time()
    {
        var world = World(All(Authorization("broken", "{rules: nonsense}"), Authorization("open", "{rules: [{}]}")));
        Assert.True(world.Allows("shop", "web", Client));
        world.With(Authorization("broken", "{action: MAYBE}"));
        Assert.Equal("explicitly denied by: shop/broken", world.Judge("shop", "web", Client).ToString());
    }

    [Fact]
    public void A_peer_authentication_that_could_never_be_read_is_strict_for_its_namespace()
    {
        var world = World(Peer("odd", "{selector: nonsense, mtls: {mode: PERMISSIVE}}", "shop"));
        world.With(Peer("older", "{mtls: {mode: PERMISSIVE}}", "shop", created: 1));
        Assert.False(world.Allows("shop", "web", null));
        Assert.True(world.Allows("shop", "web", Client));
        Assert.Equal("Invalid", world.VerdictOn("shop", "odd").Reason);
        world.Remove("PeerAuthentication", "shop", "odd");
        Assert.True(world.Allows("shop", "web", null));
    }

    [Fact]
    [Scenario("L4-106")]
    public void Where_nothing_is_allowed_but_what_the_waypoint_asks_the_direct_client_is_denied()
    {
        var world = World(All(
            Authorization("allow-nothing", "{}", ns: "istio-system"),
            Authorization("from-waypoint", "{rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/waypoint]}}]}]}")));
        Assert.Equal("allow policies exist, but none allowed", world.Judge("shop", "web", Client).ToString());
        Assert.False(world.Allows("shop", "web", null));
        Assert.True(world.Allows("shop", "web", "spiffe://cluster.local/ns/shop/sa/waypoint"));
    }

    [Theory]
    [InlineData("{mtls: {mode: SECURE}}")]
    [InlineData("{mtls: STRICT}")]
    [InlineData("{selector: {matchLabels: {app: web}}, mtls: {mode: PERMISSIVE}, portLevelMtls: {http: {mode: STRICT}}}")]
    [InlineData("{selector: {matchLabels: {app: web}}, mtls: {mode: PERMISSIVE}, portLevelMtls: nonsense}")]
    public void A_mode_that_cannot_be_read_is_strict(string spec)
    {
        var world = World(Peer("odd", spec, "shop"));
        Assert.False(world.Allows("shop", "web", null));
        Assert.Equal("UnsupportedValue", world.VerdictOn("shop", "odd").Reason);
    }

    [Fact]
    public void A_policy_moves_only_the_workloads_it_selects()
    {
        var world = World();
        world.Objects.Changed.Clear();
        world.With(Authorization("web", "{selector: {matchLabels: {app: web}}, rules: [{}]}"));
        Assert.Equal(["Kubernetes//Pod/shop/web"], world.Objects.Changed);
        var before = world.Objects.Mesh.PodWorkloads.Computations;
        world.With(Authorization("wide", "{rules: [{}]}"));
        world.With(Authorization("web", "{selector: {matchLabels: {app: web}}, rules: []}"));
        Assert.Equal(["Kubernetes//Pod/shop/web"], world.Objects.Changed);   // the policy itself changed, not who names it
        Assert.Equal(before + 1, world.Objects.Mesh.PodWorkloads.Computations);
    }

    [Fact]
    public void The_condition_an_object_already_carries_is_not_due_again()
    {
        JsonObject Policy(int generation) => new()
        {
            ["kind"] = "AuthorizationPolicy",
            ["metadata"] = new JsonObject { ["namespace"] = "shop", ["name"] = "p", ["generation"] = generation },
            ["status"] = new JsonObject
            {
                ["conditions"] = new JsonArray(new JsonObject { ["type"] = "ZtunnelAccepted", ["status"] = "True", ["reason"] = "Accepted", ["message"] = "Enforced by ztunnel.", ["observedGeneration"] = 3 }),
            },
        };
        bool IsDue(int generation) => new PolicyWorld().With(Policy(generation)).Objects.Mesh.Policies.AuthorizationPolicyReports.Items.Single().Value.ToStatus().IsDue;
        Assert.False(IsDue(3));
        Assert.True(IsDue(4));
    }
}
