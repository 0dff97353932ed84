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

        foreach (var server in before.Where(p => p.App == "server"))
        {
            await cluster.Run.MustKubectlAsync(Patience.Token, "label", "pod", "-n", shop.Name, server.Name, "istio.io/dataplane-mode=none");
            await WhenAsync(shop, server.Name, "");
            await load.MadeAsync(20);
            await cluster.Run.MustKubectlAsync(Patience.Token, "label", "pod", "-n", shop.Name, server.Name, "istio.io/dataplane-mode-");
            await WhenAsync(shop, server.Name, "enabled");
            await load.MadeAsync(20);
        }
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

        foreach (var pod in (await shop.PodsAsync()).Where(p => p.App == "load"))
        {
            await cluster.Run.MustKubectlAsync(Patience.Token, "label", "pod", "-n", shop.Name, pod.Name, "istio.io/dataplane-mode=none");
            await WhenAsync(shop, pod.Name, "");
            await load.MadeAsync(20);
            await cluster.Run.MustKubectlAsync(Patience.Token, "label", "pod", "-n", shop.Name, pod.Name, "istio.io/dataplane-mode-");
            await WhenAsync(shop, pod.Name, "enabled");
            await load.MadeAsync(20);
        }
        var counts = await load.StopAsync();

        LifecycleResults.Write("membership-callers", "each caller taken out of the mesh and put back, without a restart", counts);
        Assert.True(counts.Failed + counts.Reset == 0, $"{counts}\n{await load.LossesAsync()}");
    }

    private static async Task WhenAsync(TestNamespace shop, string pod, string redirection)
    {
        var limit = Patience.Token;
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(250));
        while ((await shop.PodsAsync()).Single(p => p.Name == pod).Redirection != redirection) await timer.WaitForNextTickAsync(limit);
    }
}
