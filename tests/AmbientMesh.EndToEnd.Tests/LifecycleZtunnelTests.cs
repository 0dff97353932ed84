namespace AmbientMesh.EndToEnd.Tests;

/// <summary>ztunnels are replaced while connections are made and held through them.</summary>
public sealed class LifecycleZtunnelTests(ClusterFixture cluster)
{
    [Fact]
    [Scenario("L4-158", "L4-159")]
    public async Task A_rolling_update_of_ztunnel_loses_no_connection()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "lc-ztunnel", ambient: true);
        await shop.DeployShopAsync();
        await shop.EnrolledAsync();
        var load = await MeshLoad.StartAsync(cluster, shop, lifeSeconds: 4);   // ends in order well before the drain's deadline

        await cluster.Run.MustKubectlAsync(Patience.Token, "rollout", "restart", "-n", "istio-system", "daemonset/ztunnel");
        await shop.RolledOutAsync("istio-system", "daemonset/ztunnel");
        await load.MadeAsync(40);
        var counts = await load.StopAsync();

        LifecycleResults.Write("ztunnel-update", "ztunnel updated on every node; long-lived connections of 4 s", counts);
        Assert.True(counts.IsWithoutLoss, $"{counts}\n{await load.LossesAsync()}");
        Assert.True(counts.Made > 100, $"{counts}");
        Assert.True(counts.LongLivedFinished > 10, $"{counts}");
    }
}
