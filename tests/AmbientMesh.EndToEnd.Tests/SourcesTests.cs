namespace AmbientMesh.EndToEnd.Tests;

/// <summary>Hosts and references that users write with kubectl, as a client in an enrolled pod meets them.</summary>
public sealed class SourcesTests(ClusterFixture cluster)
{
    [Fact]
    [Scenario("L4-060")]
    public async Task A_host_of_a_service_entry_is_resolved_and_reached_until_the_entry_is_deleted()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "entry", ambient: true);
        await shop.DeployShopAsync(replicas: 1);
        await shop.EnrolledAsync();
        var url = $"http://store.{shop.Name}.example/entry";
        Assert.False((await shop.InClientAsync("get", url)).Succeeded);

        await shop.ApplyAsync("""
            apiVersion: networking.istio.io/v1
            kind: ServiceEntry
            metadata: {name: store}
            spec:
              hosts: [store.NAMESPACE.example]
              resolution: STATIC
              location: MESH_INTERNAL
              ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]
              workloadSelector: {labels: {app: server}}
            """);
        await ReachedAsync(shop, url, expected: true);
        Assert.StartsWith("240.240.", await GetAsync(shop, "serviceentry/store", "{.status.addresses[0].value}"), StringComparison.Ordinal);

        await cluster.Run.MustKubectlAsync(Patience.Token, "delete", "serviceentry", "store", "-n", shop.Name);
        await ReachedAsync(shop, url, expected: false);
    }

    [Fact]
    public async Task Of_two_entries_for_one_host_the_older_is_reached_and_the_younger_says_so()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "twice", ambient: true);
        await shop.DeployShopAsync(replicas: 1);
        await shop.EnrolledAsync();
        string Entry(string name, string endpoints) => $"apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}}}\nspec: {{hosts: [store.NAMESPACE.example], resolution: STATIC, ports: [{{number: 80, name: http, targetPort: 8080}}], {endpoints}}}";
        await shop.ApplyAsync(Entry("older", "workloadSelector: {labels: {app: server}}"));
        await ReachedAsync(shop, $"http://store.{shop.Name}.example/twice", expected: true);
        await shop.ApplyAsync(Entry("younger", "endpoints: [{address: 192.0.2.1}]"));
        await SaysAsync(shop, "serviceentry/younger", "ambientmesh.io/Accepted", "HostConflict");
        Assert.Contains("older", await GetAsync(shop, "serviceentry/younger", "{.status.conditions[?(@.type==\"ambientmesh.io/Accepted\")].message}"), StringComparison.Ordinal);
        for (var call = 0; call < 3; call++) Assert.True((await shop.InClientAsync("get", $"http://store.{shop.Name}.example/twice")).Succeeded);
    }

    [Fact]
    [Scenario("L4-032")]
    public async Task A_service_whose_waypoint_does_not_exist_is_reached_without_and_says_so()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "bogus", ambient: true);
        await shop.DeployShopAsync(replicas: 1);
        await shop.EnrolledAsync();
        await cluster.Run.MustKubectlAsync(Patience.Token, "label", "service", "server", "-n", shop.Name, "istio.io/use-waypoint=deleted");
        await SaysAsync(shop, "service/server", "istio.io/WaypointBound", "WaypointIsNotReady");
        Assert.True((await shop.InClientAsync("get", shop.ServerUrl("bogus"))).Succeeded);
    }

    [Fact]
    public async Task A_workload_on_another_network_is_not_reached_and_says_why()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "far", ambient: true);
        await shop.DeployShopAsync(replicas: 1);
        await shop.EnrolledAsync();
        await shop.ApplyAsync("""
            apiVersion: networking.istio.io/v1
            kind: WorkloadEntry
            metadata: {name: far, labels: {app: far}}
            spec: {address: 192.0.2.1, network: overseas}
            ---
            apiVersion: v1
            kind: Service
            metadata: {name: far}
            spec: {selector: {app: far}, ports: [{port: 80}]}
            """);
        await SaysAsync(shop, "workloadentry/far", "ambientmesh.io/Accepted", "NoNetworkGateway");
        Assert.False((await shop.InClientAsync("get", $"http://far.{shop.Name}.svc.cluster.local/far")).Succeeded);
        Assert.True((await shop.InClientAsync("get", shop.ServerUrl("near"))).Succeeded);   // nothing else is disturbed
    }

    private static async Task ReachedAsync(TestNamespace from, string url, bool expected)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(300));
        var limit = Patience.Token;
        while ((await from.InClientAsync("get", url)).Succeeded != expected) await timer.WaitForNextTickAsync(limit);
    }

    private async Task SaysAsync(TestNamespace shop, string item, string condition, string reason)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(300));
        var limit = Patience.Token;
        while (await GetAsync(shop, item, $"{{.status.conditions[?(@.type==\"{condition}\")].reason}}") != reason) await timer.WaitForNextTickAsync(limit);
    }

    private async Task<string> GetAsync(TestNamespace shop, string item, string path) =>
        (await cluster.Run.MustKubectlAsync(Patience.Token, "get", "-n", shop.Name, item, "-o", $"jsonpath={path}")).Trim();
}
