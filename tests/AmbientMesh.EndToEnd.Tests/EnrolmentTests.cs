namespace AmbientMesh.EndToEnd.Tests;

/// <summary>Which pods join and leave, by which label, without a restart.</summary>
public sealed class EnrolmentTests(ClusterFixture cluster)
{
    [Fact]
    [Scenario("L4-162", "L4-163")]
    public async Task Running_pods_join_and_leave_with_labels_and_are_not_restarted()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "join");
        await shop.DeployShopAsync();
        var before = await shop.PodsAsync();
        Assert.All(before, pod => Assert.False(pod.IsEnrolled));

        await shop.LabelAsync("istio.io/dataplane-mode=ambient");
        await shop.EnrolledAsync();
        var joined = await shop.PodsAsync();

        var client = joined.Single(p => p.App == "client").Name;
        await cluster.Run.MustKubectlAsync(Patience.Token, "label", "pod", "-n", shop.Name, client, "istio.io/dataplane-mode=none");
        await cluster.Mesh.AllPodsAsync(shop.Name, p => p.IsEnrolled == (p.Name != client), "enrolled, the client excepted", Patience.Token);
        Assert.True((await shop.InClientAsync("get", shop.ServerUrl("unenrolled"))).Succeeded);

        await cluster.Run.MustKubectlAsync(Patience.Token, "label", "pod", "-n", shop.Name, client, "istio.io/dataplane-mode-");
        await shop.EnrolledAsync();
        await shop.LabelAsync("istio.io/dataplane-mode=none");
        await cluster.Mesh.AllPodsAsync(shop.Name, p => p.Redirection.Length == 0, "released", Patience.Token);

        var after = await shop.PodsAsync();
        Assert.Equal(before.Select(p => (p.Uid, p.Restarts, p.StartedAt)).Order(), after.Select(p => (p.Uid, p.Restarts, p.StartedAt)).Order());
        Assert.True((await shop.InClientAsync("get", shop.ServerUrl("left"))).Succeeded);
    }

    [Fact]
    [Scenario("L4-165")]
    public async Task Host_network_pods_and_pods_with_a_sidecar_are_left_alone()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "alone", ambient: true);
        await shop.ApplyAsync(Manifests.Pod("onhost", spec: "hostNetwork: true"));
        await shop.ApplyAsync(Manifests.Pod("sidecar", extra: "annotations: {sidecar.istio.io/status: injected}"));
        await shop.ApplyAsync(Manifests.Pod("plain"));
        await cluster.Run.MustKubectlAsync(Patience.Token, "wait", "pod", "-n", shop.Name, "--all", "--for=condition=Ready", "--timeout=50s");

        await cluster.Mesh.AllPodsAsync(shop.Name, p => p.IsEnrolled == (p.App == "plain"), "enrolled only where it should be", Patience.Token);
    }

    [Fact]
    [Scenario("L4-174")]
    public async Task A_completed_job_leaves_the_mesh()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "job", ambient: true);
        await shop.DeployShopAsync(replicas: 1);
        await shop.ApplyAsync("""
            apiVersion: batch/v1
            kind: Job
            metadata: {name: asks}
            spec:
              backoffLimit: 4
              template:
                metadata: {labels: {app: asks}}
                spec:
                  restartPolicy: Never
                  containers:
                  - name: asks
                    image: localhost/ambientmesh/samples:dev
                    command: [/app/samples, get, "http://server.NAMESPACE.svc.cluster.local/job"]
            """);

        await cluster.Run.MustKubectlAsync(Patience.Token, "wait", "job/asks", "-n", shop.Name, "--for=condition=complete", "--timeout=55s");

        var uid = (await cluster.Run.MustKubectlAsync(Patience.Token, "get", "pods", "-n", shop.Name, "-l", "app=asks", "-o", "jsonpath={.items[0].metadata.uid}")).Trim();
        await ForgottenAsync(uid);
    }

    // The job is complete before the control plane, and then every ztunnel, has heard that its pod is.
    private async Task ForgottenAsync(string uid)
    {
        var limit = Patience.Token;
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(250));
        foreach (var ztunnel in (await cluster.Mesh.ZtunnelsByNodeAsync(limit)).Values)
            while ((await cluster.Mesh.ZtunnelAsync(ztunnel, 15000, "/config_dump", limit)).Contains(uid, StringComparison.Ordinal)) await timer.WaitForNextTickAsync(limit);
    }
}
