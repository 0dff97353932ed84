using AmbientMesh.Lab.Capture;

namespace AmbientMesh.EndToEnd.Tests;

/// <summary>A part of the mesh dies while traffic runs: requests may fail, none may cross the wire readable.</summary>
public sealed class FailClosedTests(ClusterFixture cluster)
{
    public static TheoryData<string, string> Parts => new()
    {
        { "app=ztunnel", "daemonset/ztunnel" },
        { "app=istiod", "deployment/istiod" },
        { "k8s-app=istio-cni-node", "daemonset/istio-cni-node" },
    };

    [Theory]
    [MemberData(nameof(Parts))]
    public async Task A_killed_part_never_lets_an_enrolled_pod_speak_plaintext(string selector, string workload)
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "killed", ambient: true);
        await shop.DeployShopAsync();
        await shop.EnrolledAsync();
        using var wire = cluster.Listen();
        var asking = shop.InClientAsync("get", shop.ServerUrl("while-a-part-dies"), "--repeat", "60");

        await cluster.Run.MustKubectlAsync(Patience.Token, "delete", "pod", "-n", "istio-system", "-l", selector, "--grace-period=0", "--force");
        await asking;
        await cluster.Run.MustKubectlAsync(Patience.Token, "rollout", "status", "-n", "istio-system", workload, "--timeout=55s");
        await shop.EnrolledAsync();
        var afterwards = await shop.InClientAsync("get", shop.ServerUrl("when-it-is-back"), "--repeat", "6");

        await NothingReadable(wire.Stop(), shop, "while-a-part-dies", "when-it-is-back", "GET /loop");
        Assert.True(afterwards.Succeeded, afterwards.Output);
    }

    [Fact]
    [Scenario("L4-166")]
    public async Task A_new_pod_does_not_start_while_the_agent_is_absent()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "absent", ambient: true);
        await using (var absence = await AgentAbsence.BeginAsync(cluster))
        {
            // Killed, not asked to end: an agent that is asked may tidy up, one that dies cannot.
            await cluster.Run.MustKubectlAsync(Patience.Token, "delete", "pod", "-n", "istio-system", "-l", "k8s-app=istio-cni-node", "--grace-period=0", "--force");
            await absence.EverywhereAsync();
            await shop.ApplyAsync(Manifests.Pod("held"));

            await EventAsync(shop, "FailedCreatePodSandBox");

            Assert.Contains("ContainerCreating", await cluster.Run.MustKubectlAsync(Patience.Token, "get", "pod", "-n", shop.Name, "held"), StringComparison.Ordinal);
        }
        await cluster.Run.MustKubectlAsync(Patience.Token, "rollout", "status", "-n", "istio-system", "daemonset/istio-cni-node", "--timeout=55s");
        await cluster.Run.MustKubectlAsync(Patience.Token, "wait", "pod/held", "-n", shop.Name, "--for=condition=Ready", "--timeout=55s");
        await shop.EnrolledAsync();
    }

    private async Task EventAsync(TestNamespace shop, string reason)
    {
        var limit = Patience.Token;
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(300));
        while (!(await cluster.Run.MustKubectlAsync(limit, "get", "events", "-n", shop.Name)).Contains(reason, StringComparison.Ordinal)) await timer.WaitForNextTickAsync(limit);
    }

    private static async Task NothingReadable(WireRecording recording, TestNamespace shop, params string[] words)
    {
        foreach (var word in words) Assert.Empty(recording.Showing(word));
        var flows = recording.Between((await shop.PodsAsync()).SelectMany(p => p.Addresses).ToHashSet()).ToList();
        Assert.NotEmpty(flows);
        Assert.All(flows, flow => Assert.True(recording.IsOnlyTls(flow) || (flow.Source.Port != 15008 && flow.Destination.Port != 15008), $"{flow}: {recording.Preview(flow, 60)}"));
        Assert.All(flows, flow => Assert.True(flow.Source.Port == 15008 || flow.Destination.Port == 15008, $"{flow} is not a tunnel: {recording.Preview(flow, 60)}"));
    }
}
