using AmbientMesh.Lab.Capture;

namespace AmbientMesh.EndToEnd.Tests;

/// <summary>A node loses its power: everything on it stops at once and comes back in any order, under the eyes of a capture on the wire.</summary>
public sealed class LifecycleNodeTests(ClusterFixture cluster)
{
    [Fact]
    [Scenario("L4-166", "L4-170")]
    public async Task After_a_reboot_no_enrolled_pod_speaks_one_plaintext_byte_before_it_is_captured()
    {
        cluster.RequireLab("rebooting a node");
        await using var shop = await TestNamespace.CreateAsync(cluster, "lc-node", ambient: true);
        await shop.DeployShopAsync();
        await shop.EnrolledAsync();
        var nodes = await MeshLoad.NodesAsync(cluster);
        var node = (await shop.PodsAsync()).Single(p => p.App == "client").Node;   // its client asks twice a second, from its first moment on
        var load = await MeshLoad.StartAsync(cluster, shop, nodes: [.. nodes.Where(n => n != node)], perSecond: 10, longLived: 2);
        var before = await AddressesAsync(shop);
        using var wire = cluster.Listen();

        await RebootAsync(node);
        await BackAsync(shop, node, before);
        await load.MadeAsync(20);
        var counts = await load.StopAsync();

        LifecycleResults.Write("node-reboot", "one of two nodes loses its power and comes back; callers on the other", counts);
        // Connections whose answer was on its way from the node in the moment it died are lost (two or three, if any); new ones go to the server of the other node at once or after two seconds.
        Assert.True(counts.Failed == 0 && counts.Reset <= 3, $"{counts}\n{await load.LossesAsync()}");
        Assert.Equal(2, counts.LongLivedOpen);
        NothingReadable(wire.Stop(), before, await AddressesAsync(shop));
    }

    [Fact]
    public async Task After_a_reboot_without_an_agent_enrolled_pods_do_not_start_until_there_is_one()
    {
        cluster.RequireLab("rebooting a node");
        await using var shop = await TestNamespace.CreateAsync(cluster, "lc-late", ambient: true);
        await shop.DeployShopAsync();
        await shop.EnrolledAsync();
        var node = (await shop.PodsAsync()).Single(p => p.App == "client").Node;
        var before = await AddressesAsync(shop);
        using var wire = cluster.Listen();
        await using (await AgentAbsence.BeginAsync(cluster))
        {
            var agent = await cluster.Run.MustKubectlAsync(Patience.Token, "get", "pods", "-n", "istio-system", "-l", "k8s-app=istio-cni-node", "--field-selector", $"spec.nodeName={node}", "-o", "jsonpath={.items[0].metadata.name}");
            await cluster.Run.MustKubectlAsync(Patience.Token, "delete", "pod", "-n", "istio-system", agent, "--grace-period=0", "--force");
            await RebootAsync(node);
            await HeldAsync(shop);
        }
        await shop.RolledOutAsync("istio-system", "daemonset/istio-cni-node");
        await BackAsync(shop, node, before);
        NothingReadable(wire.Stop(), before, await AddressesAsync(shop));
    }

    private async Task RebootAsync(string node)
    {
        var mark = Guid.NewGuid().ToString("N");
        await cluster.Run.MustKubectlAsync(Patience.Token, "annotate", "node", node, "--overwrite", $"lab.ambientmesh.io/reboot={mark}");
        var limit = Patience.Token;
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(200));
        while (!(await cluster.Run.MustKubectlAsync(limit, "get", "node", node, "-o", "jsonpath={.metadata.annotations.lab\\.ambientmesh\\.io/rebooted}")).Contains(mark, StringComparison.Ordinal)) await timer.WaitForNextTickAsync(limit);
    }

    // Everything runs again, enrolled, with new addresses, and the client on the node gets its answers.
    private async Task BackAsync(TestNamespace shop, string node, HashSet<System.Net.IPAddress> before)
    {
        await shop.RolledOutAsync("istio-system", "daemonset/istio-cni-node");
        await shop.RolledOutAsync("istio-system", "daemonset/ztunnel");
        await shop.RolledOutAsync(shop.Name, "deployment/server");
        await shop.RolledOutAsync(shop.Name, "deployment/client");
        var limit = Patience.Token;
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(250));
        // The annotation is that of before until the agent has seen to it: new addresses tell that the pod is the one of after.
        while (!(await shop.PodsAsync()).Where(p => p.Node == node).All(p => p.Restarts > 0 && p.StartedAt.Length > 0 && p.Addresses.Count > 0 && !p.Addresses.Any(before.Contains)))
            await timer.WaitForNextTickAsync(limit);
        await shop.EnrolledAsync();
        while (!(await shop.InClientAsync("get", shop.ServerUrl("when-it-is-back"), "--repeat", "6")).Succeeded) await timer.WaitForNextTickAsync(limit);
    }

    private async Task HeldAsync(TestNamespace shop)
    {
        var limit = Patience.Token;
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(300));
        while (!(await cluster.Run.MustKubectlAsync(limit, "get", "events", "-n", shop.Name)).Contains("FailedCreatePodSandBox", StringComparison.Ordinal)) await timer.WaitForNextTickAsync(limit);
        Assert.Contains("ContainerCreating", await cluster.Run.MustKubectlAsync(limit, "get", "pods", "-n", shop.Name), StringComparison.Ordinal);
    }

    private static async Task<HashSet<System.Net.IPAddress>> AddressesAsync(TestNamespace shop) => [.. (await shop.PodsAsync()).SelectMany(p => p.Addresses)];

    private static void NothingReadable(WireRecording recording, HashSet<System.Net.IPAddress> before, HashSet<System.Net.IPAddress> after)
    {
        foreach (var word in (string[])["GET /loop", "when-it-is-back", "message "]) Assert.Empty(recording.Showing(word));
        var flows = recording.Between(before.Concat(after).ToHashSet()).ToList();
        Assert.NotEmpty(flows);
        Assert.All(flows, flow => Assert.True(flow.Source.Port == 15008 || flow.Destination.Port == 15008, $"{flow} is not a tunnel: {recording.Preview(flow, 60)}"));
        Assert.All(flows, flow => Assert.True(recording.IsOnlyTls(flow), $"{flow}: {recording.Preview(flow, 60)}"));
    }
}
