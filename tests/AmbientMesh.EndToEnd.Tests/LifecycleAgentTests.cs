namespace AmbientMesh.EndToEnd.Tests;

/// <summary>The CNI node agents restart while connections are made and held.</summary>
public sealed class LifecycleAgentTests(ClusterFixture cluster)
{
    [Fact]
    [Scenario("L4-154")]
    public async Task A_restart_of_the_node_agents_loses_no_connection()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "lc-agent", ambient: true);
        await shop.DeployShopAsync();
        await shop.EnrolledAsync();
        var load = await MeshLoad.StartAsync(cluster, shop);

        await cluster.Run.MustKubectlAsync(Patience.Token, "delete", "pod", "-n", "istio-system", "-l", "k8s-app=istio-cni-node", "--grace-period=0", "--force");   // dies
        await load.MadeAsync(20);
        await shop.RolledOutAsync("istio-system", "daemonset/istio-cni-node");
        await cluster.Run.MustKubectlAsync(Patience.Token, "rollout", "restart", "-n", "istio-system", "daemonset/istio-cni-node");   // is updated
        await shop.RolledOutAsync("istio-system", "daemonset/istio-cni-node");
        await shop.ApplyAsync(Manifests.Pod("late"));   // and it enrols again
        await shop.PodReadyAsync("late");
        await shop.EnrolledAsync();
        await load.MadeAsync(20);
        var counts = await load.StopAsync();

        LifecycleResults.Write("agent-restart", "node agents killed, then updated, on every node", counts);
        Assert.True(counts.IsWithoutLoss, $"{counts}\n{await load.LossesAsync()}");
    }
}
