using AmbientMesh.Lab.Demo;

namespace AmbientMesh.EndToEnd.Tests;

/// <summary>Pods join and leave the mesh while others call them.</summary>
public sealed class LifecycleMembershipTests(ClusterFixture cluster)
{
    [Fact]
    [Scenario("L4-162", "L4-163")]
    public async Task Servers_that_leave_and_join_the_mesh_lose_no_new_connection()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "lc-member", ambient: true);
        await shop.DeployShopAsync();
        await shop.EnrolledAsync();
        var before = await shop.PodsAsync();
        var load = await MeshLoad.StartAsync(cluster, shop, longLived: 0);

        await EachOutAndInAsync(shop, before.Where(p => p.App == "server"), load);
        var counts = await load.StopAsync();

        LifecycleResults.Write("membership", "each server taken out of the mesh and put back, without a restart", counts);
        Assert.True(counts.Failed + counts.Reset == 0, $"{counts}\n{await load.LossesAsync()}");
        Assert.Equal(before.Select(p => (p.Uid, p.Restarts)).Order(), (await shop.PodsAsync()).Where(p => p.App != "load").Select(p => (p.Uid, p.Restarts)).Order());
    }

    [Fact]
    public async Task A_caller_that_leaves_and_joins_the_mesh_loses_no_new_connection()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "lc-caller", ambient: true);
        await shop.DeployShopAsync();
        await shop.EnrolledAsync();
        var load = await MeshLoad.StartAsync(cluster, shop, longLived: 0);

        await EachOutAndInAsync(shop, (await shop.PodsAsync()).Where(p => p.App == "load"), load);
        var counts = await load.StopAsync();

        LifecycleResults.Write("membership-callers", "each caller taken out of the mesh and put back, without a restart", counts);
        Assert.True(counts.Failed + counts.Reset == 0, $"{counts}\n{await load.LossesAsync()}");
    }

    private async Task EachOutAndInAsync(TestNamespace shop, IEnumerable<ShopPod> pods, MeshLoad load)
    {
        foreach (var pod in pods)
            foreach (var (label, redirection) in new[] { ("istio.io/dataplane-mode=none", ""), ("istio.io/dataplane-mode-", "enabled") })
            {
                await cluster.Run.MustKubectlAsync(Patience.Token, "label", "pod", "-n", shop.Name, pod.Name, label);
                await WhenAsync(shop, pod.Name, redirection);
                await load.MadeAsync(20);
            }
    }

    private static async Task WhenAsync(TestNamespace shop, string pod, string redirection)
    {
        var limit = Patience.Token;
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(250));
        while ((await shop.PodsAsync()).Single(p => p.Name == pod).Redirection != redirection) await timer.WaitForNextTickAsync(limit);
    }
}
