using System.Text.Json.Nodes;
using AmbientMesh.Cni.Node.Plugin;
using AmbientMesh.Cni.Node.Redirection;
using AmbientMesh.Cni.Node.Ztunnel;
using AmbientMesh.Cni.Tests.Ztunnel;

namespace AmbientMesh.Cni.Tests.Agent;

/// <summary>The plugin as a process, with and without an agent: a pod of the mesh starts enrolled or not at all.</summary>
public class PluginTests
{
    [Fact, Scenario("L4-150", "L4-177")]
    public async Task A_starting_pod_is_enrolled_before_the_plugin_says_yes_and_the_result_passes_through()
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("demo", "ambient");
        var agent = await node.StartAgentAsync(clock: new PatientClock(ZdsConnection.Deadline));
        using var ztunnel = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
        await ztunnel.TakeSnapshotAsync();
        var pod = await node.PodAsync("demo", "web", runs: false);

        var adding = AddAsync(node, pod);
        var (_, add, inside) = await ztunnel.ReceiveAsync();
        Assert.Equal((pod.Uid, pod.Inside.Id), (add.Add.Uid, inside!.Id));
        inside.Dispose();
        Assert.Equal(RedirectionState.Intact, await node.RulesAsync(pod));
        await ztunnel.AnswerAsync(FakeZtunnel.Yes);
        var (exit, output) = await adding;

        Assert.Equal(0, exit);
        Assert.True(JsonNode.DeepEquals(PluginProcess.PreviousResult(Cidrs(pod)), output), output?.ToJsonString());
        Assert.Equal("enabled", node.Annotation(pod));
        Assert.Equal([$"{pod.V4}={pod.Uid}", $"{pod.V6}={pod.Uid}"], await node.ExemptAsync());
        Assert.Contains("istio_cni_plugin_requests_total{response_code=\"200\"} 1", (await agent.GetAsync("/metrics")).Text);
    }

    [Fact, Scenario("L4-170")]
    public async Task A_pod_that_ztunnel_cannot_take_does_not_start_and_starts_once_it_can()
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("demo", "ambient");
        var agent = await node.StartAgentAsync();
        var pod = await node.PodAsync("demo", "web", runs: false);
        var (exit, output) = await AddAsync(node, pod);
        Assert.Equal(1, exit);
        Assert.Contains("no ztunnel connection", (string?)output!["details"]);
        Assert.Equal("1.0.0", (string?)output["cniVersion"]);
        Assert.Equal("pending", node.Annotation(pod));
        Assert.Empty(await node.ExemptAsync());
        Assert.Contains("no ztunnel connection", await node.EventAsync("web", "AmbientEnrollmentFailed"));
        Assert.Contains("ambientmesh_cni_unenrolled_pods 1", (await agent.GetAsync("/metrics")).Text);

        using var ztunnel = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
        await ztunnel.TakeSnapshotAsync();   // the sandbox that failed is gone: nothing is kept for it
        await EnrolmentTests.AnswerAllAsync(ztunnel, async () => Assert.Equal(0, (await AddAsync(node, pod)).ExitCode));
        Assert.Equal("enabled", node.Annotation(pod));
        Assert.Contains("ambientmesh_cni_unenrolled_pods 0", (await agent.GetAsync("/metrics")).Text);
    }

    [Fact]
    public async Task Ztunnels_refusal_is_what_the_pods_owner_reads()
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("demo", "ambient");
        await node.StartAgentAsync();
        using var ztunnel = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
        await ztunnel.TakeSnapshotAsync();
        var pod = await node.PodAsync("demo", "web", runs: false);
        var adding = AddAsync(node, pod);
        await ztunnel.ReceiveAsync();
        await ztunnel.RefuseAsync("failure to start proxy : Bind([::]:15001)");
        var (exit, output) = await adding;
        Assert.Equal(1, exit);
        Assert.Contains("failure to start proxy", (string?)output!["details"]);
    }

    [Fact]
    public async Task A_pod_outside_the_mesh_starts_untouched()
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("plain");
        await node.StartAgentAsync();
        var pod = await node.PodAsync("plain", "web", runs: false);
        Assert.Equal(0, (await AddAsync(node, pod)).ExitCode);
        Assert.Equal(RedirectionState.Absent, await node.RulesAsync(pod));
        Assert.Null(node.Annotation(pod));
    }

    [Fact]
    public async Task A_pod_the_agent_does_not_know_or_knows_as_another_does_not_start()
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("plain");
        await node.StartAgentAsync();
        var pod = await node.PodAsync("plain", "web", runs: false);
        Assert.Equal(1, (await PluginProcess.AddAsync(node.Settings(), "plain", "ghost", "u", pod.Inside.Path, "10.0.0.1/24")).ExitCode);
        Assert.Equal(1, (await PluginProcess.AddAsync(node.Settings(), "plain", "web", "an-earlier-uid", pod.Inside.Path, "10.0.0.1/24")).ExitCode);
    }

    [Fact, Scenario("L4-166")]
    public async Task While_the_agent_is_away_pods_of_the_mesh_wait_and_others_start()
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("demo", "ambient");
        node.Namespace("plain");
        var agent = await node.StartAgentAsync();
        await agent.StopAsync();
        var mesh = await node.PodAsync("demo", "web", runs: false);
        var sidecar = await node.PodAsync("demo", "old", annotations: """{"sidecar.istio.io/status":"{}"}""", runs: false);
        var plain = await node.PodAsync("plain", "web", runs: false);

        var (exit, output) = await AddAsync(node, mesh);
        Assert.Equal(1, exit);
        Assert.Contains("waits for the agent", (string?)output!["details"]);
        Assert.Equal(0, (await AddAsync(node, plain)).ExitCode);
        Assert.Equal(0, (await AddAsync(node, sidecar)).ExitCode);

        await node.StartAgentAsync();
        using var ztunnel = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
        await EnrolmentTests.AnswerAllAsync(ztunnel, async () =>
        {
            var limit = Patience.Token;
            while ((await AddAsync(node, mesh)).ExitCode != 0) limit.ThrowIfCancellationRequested();
        });
        Assert.Equal("enabled", node.Annotation(mesh));
    }

    [Fact, Scenario("L4-168")]
    public async Task When_nobody_can_say_whether_a_pod_belongs_into_the_mesh_only_the_meshs_own_and_excluded_pods_start()
    {
        await using var node = await NodeFixture.CreateAsync();
        var settings = node.Settings();   // no agent was ever there: no socket, no kubeconfig
        var (exit, output) = await PluginProcess.AddAsync(settings, "plain", "web", "u", "/var/run/netns/x", "10.0.0.1/24");
        Assert.Equal(1, exit);
        Assert.Contains("istio-cni-kubeconfig", (string?)output!["details"]);
        Assert.Equal(0, (await PluginProcess.AddAsync(settings, "kube-system", "coredns-1", "u", "/x", "10.0.0.1/24")).ExitCode);
        Assert.Equal(0, (await PluginProcess.AddAsync(settings, "istio-system", "istio-cni-node-x7", "u", "/x", "10.0.0.1/24")).ExitCode);
        Assert.Equal(0, (await PluginProcess.AddAsync(settings, "istio-system", "ztunnel-x7", "u", "/x", "10.0.0.1/24")).ExitCode);
        Assert.Equal(1, (await PluginProcess.AddAsync(settings, "demo", "istio-cni-node-x7", "u", "/x", "10.0.0.1/24")).ExitCode);
    }

    [Fact]
    public async Task An_api_server_that_does_not_answer_keeps_pods_from_starting()
    {
        await using var node = await NodeFixture.CreateAsync();
        await File.WriteAllTextAsync(node.Settings().KubeconfigPath, Node.Installation.PluginKubeconfig.For(new Uri("https://127.0.0.1:1"), null, "token"), Patience.Token);
        var (exit, output) = await PluginProcess.AddAsync(node.Settings(), "plain", "web", "u", "/x", "10.0.0.1/24");
        Assert.Equal(1, exit);
        Assert.Contains("127.0.0.1:1", (string?)output!["details"]);
    }

    [Theory, InlineData("DEL"), InlineData("CHECK"), InlineData("GC"), InlineData("STATUS")]
    public async Task Other_commands_succeed_and_say_nothing(string command)
    {
        var (exit, output) = await PluginProcess.RunAsync(command, """{"cniVersion":"1.0.0","name":"net","type":"istio-cni"}""");
        Assert.Equal(0, exit);
        Assert.Null(output);
    }

    [Fact]
    public async Task The_versions_it_speaks_are_listed()
    {
        var (exit, output) = await PluginProcess.RunAsync("VERSION", """{"cniVersion":"1.0.0"}""");
        Assert.Equal(0, exit);
        Assert.Contains("1.0.0", output!["supportedVersions"]!.AsArray().Select(version => (string?)version));
    }

    [Theory]
    [InlineData("ADD", "not json", 6)]
    [InlineData("ADD", "[]", 6)]
    [InlineData("ADD", "", 6)]
    [InlineData("ADD", """{"enablement_selectors":[{"podSelector":{"matchExpressions":[{"key":"a","operator":"Near"}]}}]}""", 6)]
    [InlineData("FLY", "{}", 4)]
    public async Task Bad_input_is_a_cni_error_with_its_code(string command, string input, int code)
    {
        var (exit, output) = await PluginProcess.RunAsync(command, input);
        Assert.Equal(1, exit);
        Assert.Equal(code, (int)output!["code"]!);
    }

    [Theory]
    [InlineData("""{"Netns":"/x","PodName":"a","PodNamespace":"b","IPs":[{"Interface":2,"Address":{"IP":"10.244.0.3","Mask":"////AA=="},"Gateway":"10.244.0.1"}]}""", "10.244.0.3")]
    [InlineData("""{"Netns":"/x","PodName":"a","PodNamespace":"b","IPs":[{"Interface":null,"Address":{"IP":"::ffff:10.0.0.9","Mask":null}},{"Address":{"IP":"fd00::9"}}]}""", "10.0.0.9,fd00::9")]
    public void The_references_event_is_understood(string body, string addresses)
    {
        Assert.True(AddRequest.TryRead(System.Text.Encoding.UTF8.GetBytes(body), out var request, out _));
        Assert.Equal(addresses, string.Join(',', request.Addresses));
    }

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("{}")]
    [InlineData("""{"PodName":"a","PodNamespace":"b","IPs":[{"Address":{"IP":"10.0.0.1"}}]}""")]
    [InlineData("""{"Netns":"/x","PodName":"a","PodNamespace":"b","IPs":[{"Address":{"IP":"ten"}}]}""")]
    public void An_unusable_event_is_refused_with_a_reason(string body)
    {
        Assert.False(AddRequest.TryRead(System.Text.Encoding.UTF8.GetBytes(body), out _, out var problem));
        Assert.NotEmpty(problem);
    }

    private static string[] Cidrs(TestPod pod) => [$"{pod.V4}/24", $"{pod.V6}/64"];

    private static Task<(int ExitCode, JsonObject? Output)> AddAsync(NodeFixture node, TestPod pod) =>
        PluginProcess.AddAsync(node.Settings(), pod.Key.Namespace, pod.Key.Name, pod.Uid, pod.Inside.Path, Cidrs(pod));
}
