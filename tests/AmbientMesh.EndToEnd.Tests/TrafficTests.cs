using System.Net;

namespace AmbientMesh.EndToEnd.Tests;

/// <summary>What an enrolled pod's traffic looks like from the applications, the wire and the node proxies.</summary>
public sealed class TrafficTests(ClusterFixture cluster)
{
    [Fact]
    [Scenario("L4-001", "L4-002", "L4-006")]
    public async Task Enrolled_pods_talk_by_mutual_tls_on_and_across_nodes_and_see_each_others_addresses()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "traffic", ambient: true);
        await shop.DeployShopAsync();
        await shop.EnrolledAsync();
        var client = (await shop.PodsAsync()).Single(p => p.App == "client");

        var answer = await shop.InClientAsync("get", shop.ServerUrl("hello"), "--repeat", "40");   // so many that both servers are among them

        Assert.True(answer.Succeeded, answer.Output + answer.Errors);
        Assert.All(client.Addresses.Where(a => a.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork), address => Assert.Contains(address.ToString(), answer.Output));
        foreach (var server in (await shop.PodsAsync()).Where(p => p.App == "server"))
        {
            Assert.Contains(server.Name, answer.Output);
            var metrics = await MetricsAsync(server.Node);
            Assert.Contains(metrics, l => l.StartsWith("istio_tcp_connections_opened_total{reporter=\"destination\"", StringComparison.Ordinal)
                && l.Contains($"source_principal=\"spiffe://cluster.local/ns/{shop.Name}/sa/client\"", StringComparison.Ordinal)
                && l.Contains("connection_security_policy=\"mutual_tls\"", StringComparison.Ordinal));
        }
        Assert.Contains(await MetricsAsync(client.Node), l => l.StartsWith("istio_tcp_connections_opened_total{reporter=\"source\"", StringComparison.Ordinal)
            && l.Contains($"destination_service_namespace=\"{shop.Name}\"", StringComparison.Ordinal) && l.Contains("mutual_tls", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Nothing_readable_crosses_between_nodes()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "wire", ambient: true);
        await shop.DeployShopAsync();
        await shop.EnrolledAsync();
        using var wire = cluster.Listen();

        var answer = await shop.InClientAsync("get", shop.ServerUrl("a-secret-word"), "--repeat", "40");

        var recording = wire.Stop();
        Assert.True(answer.Succeeded, answer.Output + answer.Errors);
        Assert.Empty(recording.Showing("a-secret-word"));
        var flows = recording.Between((await shop.PodsAsync()).SelectMany(p => p.Addresses).ToHashSet()).ToList();
        Assert.NotEmpty(flows);
        Assert.All(flows, flow => Assert.True(recording.IsOnlyTls(flow), $"{flow}: {recording.Preview(flow, 60)}"));
    }

    [Fact]
    [Scenario("L4-003", "L4-004")]
    public async Task Pods_in_and_out_of_the_mesh_reach_each_other()
    {
        await using var inside = await TestNamespace.CreateAsync(cluster, "inside", ambient: true);
        await using var outside = await TestNamespace.CreateAsync(cluster, "outside");
        await inside.DeployShopAsync(replicas: 1);
        await outside.DeployShopAsync(replicas: 1);
        await inside.EnrolledAsync();

        var inward = await outside.InClientAsync("get", inside.ServerUrl("inward"));
        var outward = await inside.InClientAsync("get", outside.ServerUrl("outward"));

        Assert.True(inward.Succeeded, inward.Output);
        Assert.True(outward.Succeeded, outward.Output);
        var caller = (await outside.PodsAsync()).Single(p => p.App == "client");
        Assert.Contains(caller.Addresses, address => inward.Output.Contains($"\"{address}\"", StringComparison.Ordinal));
    }

    [Fact]
    [Scenario("L4-009")]
    public async Task An_enrolled_pod_reaches_the_api_server()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "api", ambient: true);
        await shop.DeployShopAsync(replicas: 1);
        await shop.EnrolledAsync();
        var service = IPAddress.Parse((await cluster.Run.MustKubectlAsync(Patience.Token, "get", "service", "-n", "default", "kubernetes", "-o", "jsonpath={.spec.clusterIP}")).Trim());

        // Bytes that are no TLS make the API server answer in plain HTTP that it wants TLS: the connection went through.
        var answer = await shop.InClientAsync("tcp", $"{service}:443", "GET / HTTP/1.0\r\n\r\n");

        Assert.True(answer.Succeeded, answer.Output);
    }

    [Fact]
    [Scenario("L4-012")]
    public async Task A_half_closed_connection_still_gets_its_reply()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "half", ambient: true);
        await shop.DeployShopAsync(replicas: 1);
        await shop.EnrolledAsync();
        var text = new string('x', 4_000);

        var answer = await shop.InClientAsync("tcp", $"server.{shop.Name}.svc.cluster.local:9090", text);

        Assert.Equal(text, answer.Output.Trim());
    }

    [Fact]
    [Scenario("L4-161")]
    public async Task A_rolling_restart_of_the_service_loses_no_request()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "roll", ambient: true);
        await shop.DeployShopAsync();
        await shop.EnrolledAsync();
        var servers = (await shop.PodsAsync()).Where(p => p.App == "server").Select(p => p.Uid).ToHashSet();
        var before = (await ClientLogAsync(shop)).Length;

        await cluster.Run.MustKubectlAsync(Patience.Token, "rollout", "restart", "-n", shop.Name, "deployment/server");
        await cluster.Run.MustKubectlAsync(Patience.Token, "rollout", "status", "-n", shop.Name, "deployment/server", "--timeout=55s");
        await GoneAsync(shop, servers);

        var during = (await ClientLogAsync(shop))[before..];
        Assert.NotEmpty(during);
        Assert.All(during, line => Assert.StartsWith("200 ", line, StringComparison.Ordinal));
    }

    // The rollout is over before the servers of before are: they linger.
    private static async Task GoneAsync(TestNamespace shop, HashSet<string> pods)
    {
        var limit = Patience.Token;
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(500));
        while ((await shop.PodsAsync()).Any(p => pods.Contains(p.Uid))) await timer.WaitForNextTickAsync(limit);
    }

    private async Task<string[]> ClientLogAsync(TestNamespace shop) =>
        (await cluster.Run.MustKubectlAsync(Patience.Token, "logs", "-n", shop.Name, "deploy/client")).Split('\n', StringSplitOptions.RemoveEmptyEntries);

    private async Task<string[]> MetricsAsync(string node) =>
        (await cluster.Mesh.ZtunnelAsync((await cluster.Mesh.ZtunnelsByNodeAsync(Patience.Token))[node], 15020, "/metrics", Patience.Token)).Split('\n');
}
