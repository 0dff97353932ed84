using System.Net;
using System.Net.Sockets;

namespace AmbientMesh.EndToEnd.Tests;

/// <summary>A cluster in which nothing has an IPv4 address, with the mesh installed by the same manifests.</summary>
public sealed class Ipv6OnlyTests
{
    [Fact]
    [Scenario("L4-177", "L4-050", "L4-110")]
    public async Task In_a_cluster_without_ipv4_pods_are_enrolled_encrypted_judged_and_find_names()
    {
        await using var cluster = new ClusterFixture("ipv6");
        cluster.RequireLab("a cluster without IPv4");
        await cluster.InitializeAsync();
        cluster.Require();
        await using var shop = await TestNamespace.CreateAsync(cluster, "six", ambient: true);
        await shop.DeployShopAsync();
        await shop.EnrolledAsync();
        var pods = await shop.PodsAsync();
        Assert.All(pods.SelectMany(p => p.Addresses), address => Assert.Equal(AddressFamily.InterNetworkV6, address.AddressFamily));
        var service = IPAddress.Parse((await cluster.Run.MustKubectlAsync(Patience.Token, "get", "service", "server", "-n", shop.Name, "-o", "jsonpath={.spec.clusterIP}")).Trim());
        Assert.Equal(AddressFamily.InterNetworkV6, service.AddressFamily);
        var client = pods.Single(p => p.App == "client");

        // Both servers answer, see who asks, and nothing readable crosses.
        using (var wire = cluster.Listen())
        {
            var answer = await shop.InClientAsync("get", shop.ServerUrl("a-secret-word"), "--repeat", "40");   // so many that both servers are among them
            var recording = wire.Stop();
            Assert.True(answer.Succeeded, answer.Output + answer.Errors);
            Assert.All(pods.Where(p => p.App == "server"), server => Assert.Contains(server.Name, answer.Output, StringComparison.Ordinal));
            Assert.Contains(client.Addresses.Single().ToString(), answer.Output, StringComparison.Ordinal);
            Assert.Empty(recording.Showing("a-secret-word"));
            var flows = recording.Between(pods.SelectMany(p => p.Addresses).ToHashSet()).ToList();
            Assert.NotEmpty(flows);
            Assert.All(flows, flow => Assert.True(recording.IsOnlyTls(flow), $"{flow}: {recording.Preview(flow, 60)}"));
        }

        // The mesh answers with the one family there is, from the service's own address.
        var names = await shop.InClientAsync("resolve", $"server.{shop.Name}.svc.cluster.local/aaaa", $"server.{shop.Name}.svc.cluster.local/a");
        Assert.True(names.Succeeded, names.Output + names.Errors);
        var (aaaa, a) = (Answer(names.Output, "/aaaa"), Answer(names.Output, "/a "));
        Assert.Contains(Convert.ToHexStringLower(service.GetAddressBytes()), aaaa, StringComparison.OrdinalIgnoreCase);
        Assert.Equal(0, Convert.ToInt32(a[12..16], 16));   // no IPv4 record, and no failure either
        Assert.Equal('0', a[7]);

        // A policy ends it.
        await shop.ApplyAsync("""
            apiVersion: security.istio.io/v1
            kind: AuthorizationPolicy
            metadata: {name: only-web}
            spec: {selector: {matchLabels: {app: server}}, action: ALLOW, rules: [{from: [{source: {serviceAccounts: [web]}}]}]}
            """);
        await RefusedAsync(shop);
    }

    /// <summary>Waits until the client is refused; the policy has to reach both nodes.</summary>
    private static async Task RefusedAsync(TestNamespace shop)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(200));
        var limit = Patience.Token;
        while (true)
        {
            var answer = await shop.InClientAsync("get", shop.ServerUrl("denied"), "--repeat", "6");
            if (!answer.Succeeded && !answer.Output.Contains("200", StringComparison.Ordinal)) return;
            await timer.WaitForNextTickAsync(limit);
        }
    }

    // A line is the question and the answer's bytes.
    private static string Answer(string output, string question) =>
        output.Split('\n').Select(line => line.Trim() + " ").Single(line => line.Split(' ')[0].EndsWith(question.Trim(), StringComparison.Ordinal)).Split(' ')[1];
}
