namespace AmbientMesh.EndToEnd.Tests;

/// <summary>Policies applied with kubectl decide who reaches an enrolled pod.</summary>
public sealed class PolicyTests(ClusterFixture cluster)
{
    [Fact]
    [Scenario("L4-090", "L4-092", "L4-093")]
    public async Task Deny_all_closes_a_namespace_and_allowing_a_principal_opens_it_for_that_one()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "policy", ambient: true);
        await using var outside = await TestNamespace.CreateAsync(cluster, "outsider");
        await shop.DeployShopAsync(replicas: 1);
        await outside.DeployShopAsync(replicas: 1);
        await shop.EnrolledAsync();
        await ReachedAsync(shop, shop, expected: true);

        await shop.ApplyAsync(Authorization("deny-all", "{}"));
        await ReachedAsync(shop, shop, expected: false);

        await shop.ApplyAsync(Authorization("allow-client", "{rules: [{from: [{source: {principals: [cluster.local/ns/NAMESPACE/sa/client]}}]}]}"));
        await ReachedAsync(shop, shop, expected: true);
        await ReachedAsync(outside, shop, expected: false);
        Assert.Equal("True", await EnforcedAsync(shop, "authorizationpolicy/allow-client"));
    }

    [Fact]
    [Scenario("L4-098", "L4-171")]
    public async Task Strict_refuses_a_client_outside_the_mesh_and_probes_pass_under_strict_and_deny_all()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "strict", ambient: true);
        await using var outside = await TestNamespace.CreateAsync(cluster, "outsider");
        await shop.DeployShopAsync(replicas: 1);
        await outside.DeployShopAsync(replicas: 1);
        await shop.EnrolledAsync();
        await ReachedAsync(outside, shop, expected: true);

        await shop.ApplyAsync("""
            apiVersion: security.istio.io/v1
            kind: PeerAuthentication
            metadata: {name: default}
            spec: {mtls: {mode: STRICT}}
            """);
        await ReachedAsync(outside, shop, expected: false);
        await ReachedAsync(shop, shop, expected: true);

        await shop.ApplyAsync(Authorization("deny-all", "{}"));
        await ReachedAsync(shop, shop, expected: false);
        // Only a pod whose readiness probe gets through becomes available.
        await cluster.Run.MustKubectlAsync(Patience.Token, "rollout", "restart", "-n", shop.Name, "deployment/server");
        await cluster.Run.MustKubectlAsync(Patience.Token, "rollout", "status", "-n", shop.Name, "deployment/server", "--timeout=55s");
    }

    [Fact]
    [Scenario("L4-104", "L4-105")]
    public async Task The_author_of_a_policy_is_told_what_is_not_enforced()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "told");
        await shop.ApplyAsync(Authorization("at-waypoint", "{targetRefs: [{kind: Service, name: server}], rules: [{}]}"));
        await shop.ApplyAsync(Authorization("http", "{rules: [{to: [{operation: {methods: [GET]}}]}]}"));

        Assert.Equal("False", await EnforcedAsync(shop, "authorizationpolicy/at-waypoint", "WaypointAccepted"));
        Assert.Equal("TargetNotFound", await ConditionAsync(shop, "authorizationpolicy/at-waypoint", "reason", "WaypointAccepted"));
        await shop.ApplyAsync("apiVersion: v1\nkind: Service\nmetadata: {name: server}\nspec: {ports: [{port: 80}]}\n");
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(300));
        var limit = Patience.Token;
        while (await ConditionAsync(shop, "authorizationpolicy/at-waypoint", "reason", "WaypointAccepted") != "AncestorNotBound") await timer.WaitForNextTickAsync(limit);
        Assert.Equal("True", await EnforcedAsync(shop, "authorizationpolicy/http"));
        Assert.Contains("methods", await ConditionAsync(shop, "authorizationpolicy/http", "message"), StringComparison.Ordinal);
    }

    private static string Authorization(string name, string spec) =>
        $$"""
        apiVersion: security.istio.io/v1
        kind: AuthorizationPolicy
        metadata: {name: {{name}}}
        spec: {{spec}}
        """;

    private static async Task ReachedAsync(TestNamespace from, TestNamespace to, bool expected)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(300));
        var limit = Patience.Token;
        while ((await from.InClientAsync("get", to.ServerUrl("policy"))).Succeeded != expected) await timer.WaitForNextTickAsync(limit);
    }

    private async Task<string> EnforcedAsync(TestNamespace shop, string policy, string type = "ZtunnelAccepted")
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(300));
        var limit = Patience.Token;
        string status;
        while ((status = await ConditionAsync(shop, policy, "status", type)).Length == 0) await timer.WaitForNextTickAsync(limit);
        return status;
    }

    private async Task<string> ConditionAsync(TestNamespace shop, string policy, string field, string type = "ZtunnelAccepted") =>
        (await cluster.Run.MustKubectlAsync(Patience.Token, "get", "-n", shop.Name, policy, "-o", $"jsonpath={{.status.conditions[?(@.type==\"{type}\")].{field}}}")).Trim();
}
