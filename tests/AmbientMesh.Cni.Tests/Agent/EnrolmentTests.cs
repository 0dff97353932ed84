using AmbientMesh.Cni.Node.Redirection;
using AmbientMesh.Cni.Node.Ztunnel;
using AmbientMesh.Cni.Tests.Ztunnel;
using static AmbientMesh.Protocol.Zds.WorkloadRequest.PayloadOneofCase;

namespace AmbientMesh.Cni.Tests.Agent;

/// <summary>The agent against an API server, real namespaces and a ztunnel: pods join and leave while they run.</summary>
public class EnrolmentTests
{
    [Fact, Scenario("L4-163", "L4-162", "L4-150", "L4-177")]
    public async Task Running_pods_join_and_leave_with_their_namespaces_label()
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("demo");
        var pod = await node.PodAsync("demo", "web");
        var agent = await node.StartAgentAsync(clock: new PatientClock(ZdsConnection.Deadline));
        using var ztunnel = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
        await ztunnel.TakeSnapshotAsync();

        node.LabelNamespace("demo", "ambient");
        var (_, add, inside) = await ztunnel.ReceiveAsync();
        Assert.Equal((pod.Uid, "web", "demo", "web-sa"), (add.Add.Uid, add.Add.WorkloadInfo.Name, add.Add.WorkloadInfo.Namespace, add.Add.WorkloadInfo.ServiceAccount));
        Assert.Equal(pod.Inside.Id, inside!.Id);
        inside.Dispose();
        Assert.Equal(RedirectionState.Absent, await node.RulesAsync(pod));   // a running pod is redirected once ztunnel listens: no connection is refused between
        Assert.Null(node.Annotation(pod));
        await ztunnel.AnswerAsync(FakeZtunnel.Yes);
        await node.AnnotatedAsync(pod, "enabled");
        Assert.Equal(RedirectionState.Intact, await node.RulesAsync(pod));
        Assert.Equal([$"{pod.V4}={pod.Uid}", $"{pod.V6}={pod.Uid}"], await node.ExemptAsync());
        Assert.Contains("ambientmesh_cni_unenrolled_pods 0", (await agent.GetAsync("/metrics")).Text);
        Assert.Contains("ztunnel_connected 1", (await agent.GetAsync("/metrics")).Text);

        node.LabelNamespace("demo", null);
        Assert.Equal(pod.Uid, (await ztunnel.TakeAsync(Del)).Del.Uid);
        await node.AnnotatedAsync(pod, null);
        Assert.Equal(RedirectionState.Absent, await node.RulesAsync(pod));
        Assert.Empty(await node.ExemptAsync());
    }

    [Fact, Scenario("L4-162")]
    public async Task A_pods_own_label_wins_over_its_namespaces()
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("demo", "ambient");
        var pod = await node.PodAsync("demo", "web");
        await node.StartAgentAsync();
        using var ztunnel = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
        await TakeUntilEnabledAsync(node, ztunnel, pod);

        node.LabelPod(pod, "none");
        await ztunnel.TakeAsync(Del);
        await node.AnnotatedAsync(pod, null);
        Assert.Equal(RedirectionState.Absent, await node.RulesAsync(pod));

        node.LabelPod(pod, null);
        await ztunnel.TakeAsync(Add);
        await node.AnnotatedAsync(pod, "enabled");
    }

    [Fact, Scenario("L4-164", "L4-165")]
    public async Task Excluded_namespaces_sidecars_and_pods_on_the_nodes_network_stay_out()
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("shut", "ambient");
        node.Namespace("demo", "ambient");
        var excluded = await node.PodAsync("shut", "labelled", mode: "ambient");
        var sidecar = await node.PodAsync("demo", "sidecar", annotations: """{"sidecar.istio.io/status":"{}"}""");
        var host = await node.PodAsync("demo", "host", spec: "\"hostNetwork\":true,");
        var mesh = await node.PodAsync("demo", "mesh");
        var agent = await node.StartAgentAsync(settings => settings with { ExcludedNamespaces = new HashSet<string>(["kube-system", "shut"]) });
        using var ztunnel = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
        await TakeUntilEnabledAsync(node, ztunnel, mesh);
        await agent.VerifyAsync();
        Assert.All([excluded, sidecar, host], pod => Assert.Null(node.Annotation(pod)));
        Assert.Equal(RedirectionState.Absent, await node.RulesAsync(excluded));
        Assert.Equal(["mesh"], (await agent.StatusAsync())["enrolled"]!.AsArray().Select(pod => (string?)pod!["name"]));
        Assert.Empty((await agent.StatusAsync())["notEnrolled"]!.AsArray());
    }

    [Fact, Scenario("L4-164", "L4-154", "L4-155")]
    public async Task A_restarted_agent_takes_out_pods_of_a_namespace_that_is_excluded_now_and_keeps_the_others()
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("shut", "ambient");
        node.Namespace("demo", "ambient");
        var excluded = await node.PodAsync("shut", "web");
        var kept = await node.PodAsync("demo", "web");
        var first = await node.StartAgentAsync();
        using (var ztunnel = await FakeZtunnel.ConnectAsync(node.ZdsSocket))
        {
            await TakeUntilEnabledAsync(node, ztunnel, excluded, kept);
            await first.StopAsync();
        }
        Assert.Equal(RedirectionState.Intact, await node.RulesAsync(kept));
        Assert.NotEmpty(await node.ExemptAsync());

        await node.StartAgentAsync(settings => settings with { ExcludedNamespaces = new HashSet<string>(["shut"]) });
        using var again = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
        await AnswerAllAsync(again, () => node.AnnotatedAsync(excluded, null));
        Assert.Equal("enabled", node.Annotation(kept));
        Assert.Equal(RedirectionState.Absent, await node.RulesAsync(excluded));
        Assert.Equal(RedirectionState.Intact, await node.RulesAsync(kept));
        Assert.Equal([$"{kept.V4}={kept.Uid}", $"{kept.V6}={kept.Uid}"], await node.ExemptAsync());
    }

    [Fact, Scenario("L4-170")]
    public async Task Without_a_ztunnel_a_pod_is_closed_and_pending_and_told_about_and_enrolled_once_one_connects()
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("demo", "ambient");
        var pod = await node.PodAsync("demo", "web");
        var agent = await node.StartAgentAsync();
        await node.AnnotatedAsync(pod, "pending");
        Assert.Equal(RedirectionState.Intact, await node.RulesAsync(pod));
        Assert.Contains("no ztunnel connection", await node.EventAsync("web", "AmbientEnrollmentFailed"));
        Assert.Contains("ambientmesh_cni_unenrolled_pods 1", (await agent.GetAsync("/metrics")).Text);
        Assert.Contains("demo/web", (await agent.GetAsync("/readyz")).Text);
        Assert.Equal([$"{pod.V4}={pod.Uid}", $"{pod.V6}={pod.Uid}"], await node.ExemptAsync());   // its liveness probe must not restart it
        var line = Assert.Single((await agent.StatusAsync())["notEnrolled"]!.AsArray());
        Assert.Equal(("web", false), ((string?)line!["name"], (bool)line["ready"]!));

        using var ztunnel = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
        await AnswerAllAsync(ztunnel, () => node.EventAsync("web", "AmbientEnrolled"));
        Assert.Equal("enabled", node.Annotation(pod));
        Assert.Contains("ambientmesh_cni_unenrolled_pods 0", (await agent.GetAsync("/metrics")).Text);
    }

    [Fact, Scenario("L4-174")]
    public async Task A_job_that_completes_is_removed_from_ztunnel_and_sets()
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("demo", "ambient");
        var pod = await node.PodAsync("demo", "job");
        await node.StartAgentAsync();
        using var ztunnel = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
        await TakeUntilEnabledAsync(node, ztunnel, pod);
        node.SetStatus(pod, "Succeeded");
        Assert.Equal(pod.Uid, (await ztunnel.TakeAsync(Del)).Del.Uid);
        await node.AnnotatedAsync(pod, null);
        Assert.Empty(await node.ExemptAsync());
    }

    [Fact, Scenario("L4-160")]
    public async Task A_deleted_pod_is_removed_from_ztunnel_and_sets()
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("demo", "ambient");
        var pod = await node.PodAsync("demo", "web");
        var agent = await node.StartAgentAsync();
        using var ztunnel = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
        await TakeUntilEnabledAsync(node, ztunnel, pod);
        node.DeletePod(pod);
        Assert.Equal(pod.Uid, (await ztunnel.TakeAsync(Del)).Del.Uid);
        Assert.Empty(await node.ExemptAsync());
        await agent.VerifyAsync();
    }

    [Fact]
    public async Task A_pod_without_an_address_waits_for_one_without_a_complaint()
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("demo", "ambient");
        var waiting = await node.PodAsync("demo", "waiting", runs: false);
        var other = await node.PodAsync("demo", "other");
        var agent = await node.StartAgentAsync();
        using var ztunnel = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
        await TakeUntilEnabledAsync(node, ztunnel, other);
        Assert.Null(node.Annotation(waiting));
        Assert.Empty((await agent.StatusAsync())["notEnrolled"]!.AsArray());
        node.ShowProcess(waiting);
        node.SetRunning(waiting);
        await ztunnel.TakeAsync(Add);
        await node.AnnotatedAsync(waiting, "enabled");
    }

    [Fact]
    public async Task A_label_with_an_unknown_value_enrols_nobody_and_is_told_on_the_object()
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("demo", "ambiant");
        var pod = await node.PodAsync("demo", "web", mode: "meshed");
        var agent = await node.StartAgentAsync();
        Assert.Contains("istio.io/dataplane-mode=ambiant", await node.EventAsync("demo", "AmbientUnknownMode"));
        Assert.Contains("istio.io/dataplane-mode=meshed", await node.EventAsync("web", "AmbientUnknownMode"));
        await agent.VerifyAsync();
        Assert.Null(node.Annotation(pod));
        Assert.Equal(RedirectionState.Absent, await node.RulesAsync(pod));
    }

    [Fact]
    public async Task A_pod_whose_namespace_cannot_be_found_is_told_about_and_others_are_enrolled()
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("demo", "ambient");
        var lost = await node.PodAsync("demo", "lost", runs: false);
        node.SetRunning(lost);
        var other = await node.PodAsync("demo", "other");
        await node.StartAgentAsync();
        using var ztunnel = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
        await TakeUntilEnabledAsync(node, ztunnel, other);
        Assert.Contains("network namespace was not found", await node.EventAsync("lost", "AmbientEnrollmentFailed"));
    }

    [Theory, InlineData("iptables-nft", false), InlineData("nftables", true), Scenario("L4-175", "L4-176", "L4-124", "L4-178")]
    public async Task A_pods_annotations_shape_its_rules(string backend, bool nftables)
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("demo", "ambient");
        var pod = await node.PodAsync("demo", "web", annotations:
            """{"ambient.istio.io/bypass-inbound-capture":"true","istio.io/reroute-virtual-interfaces":"virt0","ambient.istio.io/dns-capture":"false"}""");
        await node.StartAgentAsync(settings => settings with { UsesNftables = nftables, CapturesDns = true });
        using var ztunnel = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
        await TakeUntilEnabledAsync(node, ztunnel, pod);
        Assert.Equal(RedirectionState.Intact, await node.RulesAsync(pod, new PodRedirectOptions(false, true, ["virt0"]), backend));
    }

    [Theory, InlineData("iptables-nft", false), InlineData("nftables", true), Scenario("L4-124", "L4-178")]
    public async Task Dns_capture_is_switched_for_a_namespace_and_a_pod_while_it_runs_and_the_pod_wins(string backend, bool nftables)
    {
        const string Switch = PodRedirectOptions.DnsCaptureAnnotation;
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("demo", "ambient");
        var (pod, other) = (await node.PodAsync("demo", "web"), await node.PodAsync("demo", "other", annotations: $$"""{"{{Switch}}":"true"}"""));
        await node.StartAgentAsync(settings => settings with { UsesNftables = nftables });
        using var ztunnel = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
        await TakeUntilEnabledAsync(node, ztunnel, pod, other);
        await RulesBecomeAsync(pod, captured: true);

        node.AnnotateNamespace("demo", Switch, "false");
        await RulesBecomeAsync(pod, captured: false);
        await RulesBecomeAsync(other, captured: true);

        node.Annotate(pod, Switch, "true");
        await RulesBecomeAsync(pod, captured: true);
        node.Annotate(pod, Switch, "perhaps");   // counts as absent
        await RulesBecomeAsync(pod, captured: false);

        node.AnnotateNamespace("demo", Switch, null);
        await RulesBecomeAsync(pod, captured: true);
        node.Annotate(other, Switch, "0");
        await RulesBecomeAsync(other, captured: false);
        Assert.Equal("enabled", node.Annotation(other));

        // The rules have no event to wait for.
        async Task RulesBecomeAsync(TestPod which, bool captured)
        {
            var limit = Patience.Token;
            while (await node.RulesAsync(which, Redirection.Backends.Plain with { CapturesDns = captured }, backend) != RedirectionState.Intact)
                Assert.False(limit.IsCancellationRequested, $"the rules of {which.Key} never became those with capture {captured}; {node.Agent?.LastLines}");
        }
    }

    [Fact]
    public async Task An_annotation_that_asks_for_the_impossible_is_told_and_the_pod_is_not_enrolled()
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("demo", "ambient");
        await node.PodAsync("demo", "web", annotations: """{"istio.io/reroute-virtual-interfaces":"a;b"}""");
        var agent = await node.StartAgentAsync();
        Assert.Contains("'a;b'", await node.EventAsync("web", "AmbientEnrollmentFailed"));
        Assert.Contains("a;b", (await agent.GetAsync("/readyz")).Text);
    }

    [Fact, Scenario("L4-150")]
    public async Task A_ztunnel_that_connects_while_a_running_pod_is_being_handed_over_finds_it_in_its_snapshot()
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("demo", "ambient");
        await node.StartAgentAsync();
        using var ztunnel = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
        await ztunnel.TakeSnapshotAsync();
        var pod = await node.PodAsync("demo", "web");
        var (_, add, inside) = await ztunnel.ReceiveAsync();
        inside!.Dispose();
        Assert.Equal(pod.Uid, add.Add.Uid);   // not answered yet

        using var next = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
        Assert.Equal(pod.Uid, (await next.TakeAsync(Add)).Add.Uid);
        await ztunnel.AnswerAsync(FakeZtunnel.Yes);
        await next.TakeAsync(SnapshotSent);
        await node.AnnotatedAsync(pod, "enabled");
    }

    [Fact]
    public async Task A_pod_whose_annotations_ask_for_the_impossible_leaves_all_the_same()
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("demo", "ambient");
        var pod = await node.PodAsync("demo", "web");
        await node.StartAgentAsync();
        using var ztunnel = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
        await TakeUntilEnabledAsync(node, ztunnel, pod);
        node.Annotate(pod, "istio.io/reroute-virtual-interfaces", "a;b");
        Assert.Contains("'a;b'", await node.EventAsync("web", "AmbientEnrollmentFailed"));

        node.LabelPod(pod, "none");
        await ztunnel.TakeAsync(Del);
        await node.AnnotatedAsync(pod, null);
        Assert.Equal(RedirectionState.Absent, await node.RulesAsync(pod));
    }

    [Fact]
    public async Task A_pod_that_cannot_be_taken_out_yet_is_told_as_such_and_is_none_that_should_be_enrolled()
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("demo", "ambient");
        var pod = await node.PodAsync("demo", "web");
        var agent = await node.StartAgentAsync();
        using var ztunnel = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
        await TakeUntilEnabledAsync(node, ztunnel, pod);

        node.LabelPod(pod, "none");
        Assert.Equal(Del, (await ztunnel.ReceiveAsync()).Request.PayloadCase);
        await ztunnel.RefuseAsync("not now");
        Assert.Contains("is to leave the mesh and has not yet", await node.EventAsync("web", "AmbientRemovalFailed"));
        Assert.Empty((await agent.StatusAsync())["notEnrolled"]!.AsArray());
        await ztunnel.TakeAsync(Del);
        await node.AnnotatedAsync(pod, null);
    }

    internal static async Task TakeUntilEnabledAsync(NodeFixture node, FakeZtunnel ztunnel, params TestPod[] pods) =>
        await AnswerAllAsync(ztunnel, () => Task.WhenAll(pods.Select(pod => node.AnnotatedAsync(pod, "enabled"))));

    /// <summary>Says yes to whatever comes until <paramref name="done"/>; then nothing is left unanswered.</summary>
    internal static async Task AnswerAllAsync(FakeZtunnel ztunnel, Func<Task> done)
    {
        var waiting = done();
        var receiving = ztunnel.ReceiveAsync();
        while (await Task.WhenAny(waiting, receiving) == receiving)
        {
            (await receiving).Namespace?.Dispose();
            await ztunnel.AnswerAsync(FakeZtunnel.Yes);
            receiving = ztunnel.ReceiveAsync();
        }
        ztunnel.Resume(receiving);
        await waiting;
    }
}
