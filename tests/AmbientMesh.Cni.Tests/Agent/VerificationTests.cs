using System.Text.Json;
using AmbientMesh.Cni.Node.Redirection;
using AmbientMesh.Cni.Tests.Ztunnel;
using AmbientMesh.Telemetry.Coverage;

namespace AmbientMesh.Cni.Tests.Agent;

/// <summary>Looking again: damage to an enrolled pod is found, repaired and told.</summary>
public class VerificationTests
{
    private static async Task<(string State, string? Reason)> CoverageAsync(NodeFixture node)
    {
        var report = JsonSerializer.Deserialize((await node.Agent!.GetAsync("/debug/coverage")).Text, CoverageJson.Default.AgentCoverage)!;
        var pod = Assert.Single(report.Pods);
        Assert.Equal("demo/web", pod.Pod);
        Assert.Equal(pod.State == PodStates.Verified, pod.VerifiedAt is not null);
        if (pod.State == PodStates.Gap) Assert.NotNull(pod.Since);
        return (pod.State, pod.Reason);
    }

    [Theory]
    [InlineData("iptables-nft -t nat -F", "redirect rules different")]
    [InlineData("iptables-nft -t nat -F; iptables-nft -t mangle -F; ip6tables-nft -t nat -F; ip6tables-nft -t mangle -F; ip rule del pref 32764; ip -6 rule del pref 32764", "redirect rules different")]
    [InlineData("ip route flush table 100", "redirect rules different")]
    public async Task Rules_that_somebody_changed_inside_the_pod_are_written_again(string damage, string fault)
    {
        var (node, ztunnel, pod) = await EnrolledAsync();
        await using (node)
        using (ztunnel)
        {
            await node.ShAsync(pod.Inside, damage);
            await EnrolmentTests.AnswerAllAsync(ztunnel, node.Agent!.VerifyAsync);
            Assert.Equal(RedirectionState.Intact, await node.RulesAsync(pod));
            Assert.Contains(fault, await node.EventAsync("web", "AmbientRepaired"));
            Assert.Contains($"ambientmesh_cni_repairs_total{{fault=\"{fault}\"}} 1", (await node.Agent.GetAsync("/metrics")).Text);
        }
    }

    [Fact]
    public async Task A_pod_that_is_well_is_left_alone()
    {
        var (node, ztunnel, pod) = await EnrolledAsync();
        await using (node)
        using (ztunnel)
        {
            Assert.Contains((await CoverageAsync(node)).State, new[] { PodStates.Starting, PodStates.Enrolled });   // its last step may be under way
            await node.Agent!.VerifyAsync();
            Assert.Equal(("verified", null), await CoverageAsync(node));
            Assert.Contains("ambientmesh_coverage_pods{state=\"verified\"} 1", (await node.Agent.GetAsync("/metrics")).Text);
            Assert.DoesNotContain("ambientmesh_cni_repairs_total{", (await node.Agent.GetAsync("/metrics")).Text);
            Assert.NotNull((await node.Agent.StatusAsync())["lastVerification"]);
            Assert.Equal("enabled", node.Annotation(pod));
        }
    }

    [Fact]
    public async Task A_pod_whose_probe_exemption_or_annotation_was_taken_away_gets_them_back()
    {
        var (node, ztunnel, pod) = await EnrolledAsync();
        await using (node)
        using (ztunnel)
        {
            await node.ShAsync(node.Host, "ipset flush istio-inpod-probes-v4; iptables-nft -t nat -F ISTIO_POSTRT");
            await EnrolmentTests.AnswerAllAsync(ztunnel, node.Agent!.VerifyAsync);
            Assert.Equal([$"{pod.V4}={pod.Uid}", $"{pod.V6}={pod.Uid}"], await node.ExemptAsync());
            Assert.Contains("--to-source 169.254.7.127", await node.ShAsync(node.Host, "iptables-nft-save -t nat"));
        }
    }

    [Fact, Scenario("L4-153")]
    public async Task A_pod_that_ztunnel_refused_in_its_snapshot_is_unenrolled_until_a_verification_finds_it_taken()
    {
        var (node, ztunnel, pod) = await EnrolledAsync();
        await using (node)
        {
            ztunnel.Dispose();
            using var next = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
            await next.ReceiveAsync();
            await next.RefuseAsync("failure to start proxy : Bind");
            await next.TakeSnapshotAsync();

            var verifying = node.Agent!.VerifyAsync();
            await next.ReceiveAsync();
            await next.RefuseAsync("failure to start proxy : Bind");
            await Patience.Within(verifying);
            Assert.Contains("failure to start proxy", await node.EventAsync("web", "AmbientEnrollmentFailed"));
            Assert.Contains("demo/web", (await node.Agent.GetAsync("/readyz")).Text);
            Assert.Equal(("gap", "not-acknowledged"), await CoverageAsync(node));
            Assert.Contains("ambientmesh_coverage_gaps{reason=\"not-acknowledged\"} 1", (await node.Agent.GetAsync("/metrics")).Text);

            await EnrolmentTests.AnswerAllAsync(next, async () =>
            {
                await node.Agent.VerifyAsync();
                await node.EventAsync("web", "AmbientEnrolled");
            });
            Assert.DoesNotContain("demo/web", (await node.Agent.GetAsync("/readyz")).Text);
            Assert.Equal("enabled", node.Annotation(pod));
        }
    }

    [Fact, Scenario("L4-154")]
    public async Task A_restarted_agent_repairs_what_was_changed_while_it_was_away_and_keeps_what_was_not()
    {
        var (node, ztunnel, pod) = await EnrolledAsync();
        await using (node)
        using (ztunnel)
        {
            await node.Agent!.StopAsync();
            await node.ShAsync(pod.Inside, "iptables-nft -t nat -F ISTIO_OUTPUT");
            await node.StartAgentAsync();
            Assert.Equal(RedirectionState.Intact, await node.RulesAsync(pod));
            using var again = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
            Assert.Equal([pod.Uid], await again.TakeSnapshotAsync(pods: 1));
        }
    }

    [Fact, Scenario("L4-173")]
    public async Task A_restarted_agent_prunes_no_exemption_while_an_enrolled_pod_lacks_an_address()
    {
        var (node, ztunnel, pod) = await EnrolledAsync();
        await using (node)
        using (ztunnel)
        {
            await node.Agent!.StopAsync();
            var bare = await node.PodAsync("demo", "bare", annotations: """{"ambient.istio.io/redirection":"enabled"}""", runs: false);
            await node.ShAsync(node.Host, "ipset add istio-inpod-probes-v4 10.77.0.99 comment somebody");
            var agent = await node.StartAgentAsync();
            Assert.Contains("10.77.0.99=somebody", await node.ExemptAsync());
            Assert.Contains($"{pod.V4}={pod.Uid}", await node.ExemptAsync());
            await agent.StopAsync();

            node.DeletePod(bare);
            await node.StartAgentAsync();
            Assert.Equal([$"{pod.V4}={pod.Uid}", $"{pod.V6}={pod.Uid}"], await node.ExemptAsync());
        }
    }

    [Fact, Scenario("L4-156")]
    public async Task A_restarted_agent_asks_ztunnel_to_keep_a_pod_it_cannot_find()
    {
        var (node, ztunnel, pod) = await EnrolledAsync();
        await using (node)
        using (ztunnel)
        {
            await node.Agent!.StopAsync();
            node.HideProcesses();
            await node.StartAgentAsync();
            using var again = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
            Assert.Equal(pod.Uid, (await again.TakeAsync(Protocol.Zds.WorkloadRequest.PayloadOneofCase.Keep)).Keep.Uid);
            await again.TakeSnapshotAsync();
            Assert.Contains("network namespace was not found", await node.EventAsync("web", "AmbientEnrollmentFailed"));
        }
    }

    [Fact, Scenario("L4-172")]
    public async Task A_pod_that_takes_over_another_pods_address_keeps_its_exemption_when_the_other_goes()
    {
        var (node, ztunnel, pod) = await EnrolledAsync();
        await using (node)
        using (ztunnel)
        {
            var heir = await node.PodAsync("demo", "heir", runs: false);
            await node.ShAsync(heir.Inside, $"ip addr add {pod.V4}/32 dev eth0");
            node.ShowProcess(heir);
            node.SetStatus(heir, "Running", pod.V4);
            await EnrolmentTests.TakeUntilEnabledAsync(node, ztunnel, heir);
            node.SetStatus(pod, "Succeeded");
            await EnrolmentTests.AnswerAllAsync(ztunnel, () => node.AnnotatedAsync(pod, null));
            Assert.Equal([$"{pod.V4}={heir.Uid}"], await node.ExemptAsync());
        }
    }

    private static async Task<(NodeFixture Node, FakeZtunnel Ztunnel, TestPod Pod)> EnrolledAsync()
    {
        var node = await NodeFixture.CreateAsync();
        node.Namespace("demo", "ambient");
        var pod = await node.PodAsync("demo", "web");
        await node.StartAgentAsync();
        var ztunnel = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
        await EnrolmentTests.TakeUntilEnabledAsync(node, ztunnel, pod);
        return (node, ztunnel, pod);
    }
}
