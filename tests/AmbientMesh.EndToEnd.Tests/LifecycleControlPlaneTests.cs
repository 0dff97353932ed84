namespace AmbientMesh.EndToEnd.Tests;

/// <summary>The control plane restarts, and replicas of it die, while connections are made and held.</summary>
public sealed class LifecycleControlPlaneTests(ClusterFixture cluster)
{
    [Fact]
    [Scenario("L4-133", "L4-135")]
    public async Task A_restart_of_the_control_plane_loses_no_connection()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "lc-istiod", ambient: true);
        await shop.DeployShopAsync();
        await shop.EnrolledAsync();
        var load = await MeshLoad.StartAsync(cluster, shop);

        await cluster.Run.MustKubectlAsync(Patience.Token, "delete", "pod", "-n", "istio-system", "-l", "app=istiod", "--grace-period=0", "--force");
        await load.MadeAsync(40);   // while it is away
        await shop.RolledOutAsync("istio-system", "deployment/istiod");
        await load.MadeAsync(40);
        await shop.ApplyAsync(Manifests.Pod("late"));   // and it serves again
        await shop.PodReadyAsync("late");
        await shop.EnrolledAsync();
        var counts = await load.StopAsync();

        LifecycleResults.Write("control-plane-restart", "control plane killed and started again", counts);
        Assert.True(counts.IsWithoutLoss, $"{counts}\n{await load.LossesAsync()}");
    }

    [Fact]
    public async Task Of_three_replicas_one_may_die_and_all_may_be_updated_without_loss()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "lc-replicas", ambient: true);
        await shop.DeployShopAsync();
        await shop.EnrolledAsync();
        var before = await cluster.Run.MustKubectlAsync(Patience.Token, "get", "-n", "istio-system", "deployment/istiod", "-o", "jsonpath={.spec.replicas}");
        try
        {
            await cluster.Run.MustKubectlAsync(Patience.Token, "scale", "-n", "istio-system", "deployment/istiod", "--replicas=3");
            await shop.RolledOutAsync("istio-system", "deployment/istiod");
            var load = await MeshLoad.StartAsync(cluster, shop);
            var replicas = (await cluster.Run.MustKubectlAsync(Patience.Token, "get", "pods", "-n", "istio-system", "-l", "app=istiod", "-o", "jsonpath={.items[*].metadata.name}")).Split(' ');

            await cluster.Run.MustKubectlAsync(Patience.Token, "delete", "pod", "-n", "istio-system", replicas[0], "--grace-period=0", "--force");
            await shop.ApplyAsync(Manifests.Pod("after-a-death"));   // the others serve
            await shop.PodReadyAsync("after-a-death");
            await shop.EnrolledAsync();
            await load.MadeAsync(20);
            await cluster.Run.MustKubectlAsync(Patience.Token, "rollout", "restart", "-n", "istio-system", "deployment/istiod");
            await shop.RolledOutAsync("istio-system", "deployment/istiod");
            await load.MadeAsync(20);
            var counts = await load.StopAsync();

            LifecycleResults.Write("control-plane-replicas", "one of three control planes killed, then all three updated", counts);
            Assert.True(counts.IsWithoutLoss, $"{counts}\n{await load.LossesAsync()}");
        }
        finally
        {
            await cluster.Run.MustKubectlAsync(Patience.Token, "scale", "-n", "istio-system", "deployment/istiod", $"--replicas={before}");
            await shop.RolledOutAsync("istio-system", "deployment/istiod");
        }
    }
}
