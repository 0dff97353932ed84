using System.Net;
using System.Text.Json;
using System.Threading.Channels;
using AmbientMesh.ControlPlane.Coverage;
using AmbientMesh.ControlPlane.Kubernetes;
using AmbientMesh.ControlPlane.Serving;
using AmbientMesh.ControlPlane.Tests.Serving;
using AmbientMesh.ControlPlane.Tests.Translation;
using AmbientMesh.Kubernetes;
using AmbientMesh.Telemetry;
using AmbientMesh.Telemetry.Coverage;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.ControlPlane.Tests.Coverage;

/// <summary>The picture of the mesh, put together from pods, node agents and ztunnels that answer over real sockets.</summary>
public sealed class CoverageWatchTests : IAsyncDisposable
{
    // Addresses of this machine's loopback network, different in each test: the node agent's port is fixed.
    private readonly IPAddress _node = IPAddress.Parse($"127.{Random.Shared.Next(10, 250)}.{Random.Shared.Next(1, 250)}.{Random.Shared.Next(1, 250)}");
    private readonly List<IAsyncDisposable> _owned = [];

    private static string Part(string name, string labels, string node, IPAddress ip, int port) => $$"""
        apiVersion: v1
        kind: Pod
        metadata: {name: {{name}}, namespace: istio-system, uid: {{name}}-uid, labels: {{labels}}, annotations: {prometheus.io/port: "{{port}}"} }
        spec: {nodeName: {{node}}, hostNetwork: true}
        status: {phase: Running, podIP: {{ip}}, startTime: "2030-01-01T00:00:00Z"}

        """;

    private static string Pod(string name, string node, string more = "", string metadata = "") => $$"""
        apiVersion: v1
        kind: Pod
        metadata: {name: {{name}}, namespace: shop, uid: {{name}}-uid{{metadata}} }
        spec: {nodeName: {{node}}{{more}}}
        status: {phase: Running, podIP: 10.9.0.1}

        """;

    private const string World = """
        apiVersion: v1
        kind: Namespace
        metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient} }
        ---
        apiVersion: v1
        kind: Node
        metadata: {name: n1}
        ---
        apiVersion: v1
        kind: Node
        metadata: {name: n2}

        """;

    private HttpEndpoint Serve(int port, string path, Func<string> body) => Serve(port, path, () => HttpEndpointResponse.Text(200, body()));

    private HttpEndpoint Serve(int port, string path, Func<HttpEndpointResponse> answer)
    {
        var endpoint = HttpEndpoint.Start("test", [new IPEndPoint(_node, port)],
            (request, _) => ValueTask.FromResult(request.Path == path ? answer() : HttpEndpointResponse.NotFound), NullLogger.Instance, TimeProvider.System);
        _owned.Add(endpoint);
        return endpoint;
    }

    /// <summary>Parts have for ever to answer: that one answers is not a matter of this machine's speed.</summary>
    private static Task<ControlPlaneWorld> StartAsync(string yaml) =>
        ControlPlaneWorld.StartAsync(yaml, clock: new PatientClock(NodeScrape.ConnectLimit, NodeScrape.Limit, HttpPages.RefreshLimit));

    private static async Task<MeshCoverage> AskAsync(ControlPlaneWorld world)
    {
        var (status, body) = await world.GetAsync("/debug/coverage?refresh&limit=10");
        Assert.Equal(200, status);
        return JsonSerializer.Deserialize(body, CoverageJson.Default.MeshCoverage)!;
    }

    [Fact]
    public async Task Pods_are_judged_by_their_nodes_agent_and_traffic_is_read_from_any_ztunnels_metrics()
    {
        var agent = new AgentCoverage
        {
            Node = "n1",
            Time = DateTimeOffset.UnixEpoch.AddYears(100),
            Pods =
            [
                new PodCoverage { Pod = "shop/good", Uid = "good-uid", State = PodStates.Verified },
                new PodCoverage { Pod = "shop/bad", Uid = "bad-uid", State = PodStates.Gap, Reason = ProtectionGap.NotAcknowledged.Word(), Message = "refused" },
            ],
        };
        Serve(8000, "/debug/coverage", () => JsonSerializer.Serialize(agent, CoverageJson.Default.AgentCoverage));
        var stats = Serve(0, "/stats/prometheus", () => Samples.Text("samples/ztunnel/telemetry/metrics-after-traffic.txt"));
        await using var world = await StartAsync(string.Join("---\n",
            World,
            Part("istio-cni-node-1", "{k8s-app: istio-cni-node}", "n1", _node, 15014),
            Part("ztunnel-1", "{app: ztunnel}", "n1", _node, stats.EndPoints[0].Port),
            Pod("good", "n1"), Pod("bad", "n1"), Pod("alone", "n2"), Pod("host", "n2", ", hostNetwork: true")));
        var report = await AskAsync(world);

        Assert.Equal(new PodCounts { Expected = 3, Enrolled = 1, Verified = 1, Gaps = 2, Exempt = 1, Outside = 2 }, report.Pods);
        Assert.Equal(33.3333, report.Pods.PercentEnrolled);
        Assert.Equal([("shop/alone", "no-node-agent"), ("shop/bad", "not-acknowledged")], report.Gaps.Select(gap => (gap.Pod, gap.Reason)).Order());
        Assert.Equal(("shop/host", "host-network"), (Assert.Single(report.Exempt).Pod, report.Exempt[0].Reason));
        Assert.Equal([("n1", "fresh", "fresh"), ("n2", "missing", "missing")], report.Nodes.Select(n => (n.Node, n.Agent.State, n.Ztunnel.State)));
        Assert.True(report.Traffic.MutualTls.Bytes > 0 && report.Traffic.Plaintext.Bytes > 0, "the recorded metrics have both");
        Assert.NotNull(report.Traffic.PercentBytesMutualTls);
        Assert.Contains(report.Pairs, pair => pair is { Source.Workload: "client", Destination.Workload: "server", Traffic.MutualTls.Connections: > 0 });
        var metrics = (await world.GetAsync("/metrics", monitoring: true)).Body;
        Assert.Contains("ambientmesh_coverage_pods{state=\"verified\"} 1\n", metrics, StringComparison.Ordinal);
        Assert.Contains("ambientmesh_coverage_gaps{reason=\"no-node-agent\"} 1\n", metrics, StringComparison.Ordinal);
        Assert.Contains("ambientmesh_coverage_nodes{part=\"ztunnel\",state=\"missing\"} 1\n", metrics, StringComparison.Ordinal);
        Assert.Contains($"ambientmesh_coverage_bytes_total{{connection_security_policy=\"mutual_tls\"}} {report.Traffic.MutualTls.Bytes}\n", metrics, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_part_that_no_longer_answers_is_stale_and_its_pods_are_no_longer_called_verified()
    {
        var agent = new AgentCoverage { Node = "n1", Pods = [new PodCoverage { Pod = "shop/good", Uid = "good-uid", State = PodStates.Verified }] };
        var endpoint = Serve(8000, "/debug/coverage", () => JsonSerializer.Serialize(agent, CoverageJson.Default.AgentCoverage));
        await using var world = await StartAsync(string.Join("---\n", World, Part("istio-cni-node-1", "{k8s-app: istio-cni-node}", "n1", _node, 15014), Pod("good", "n1")));
        Assert.Equal(1, (await AskAsync(world)).Pods.Verified);
        await endpoint.DisposeAsync();
        _owned.Clear();
        var report = await AskAsync(world);
        Assert.Equal((1, 0), (report.Pods.Enrolled, report.Pods.Verified));
        Assert.Equal("stale", report.Nodes[0].Agent.State);
        Assert.Contains("8000", report.Nodes[0].Agent.Problem, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Another_vendors_agent_leaves_the_annotations_to_tell()
    {
        Serve(8000, "/readyz", () => "ok");
        await using var world = await StartAsync(string.Join("---\n", World,
            Part("istio-cni-node-1", "{k8s-app: istio-cni-node}", "n1", _node, 15014),
            Pod("in", "n1", metadata: ", annotations: {ambient.istio.io/redirection: enabled}"), Pod("out", "n1"), Pod("no", "n1", metadata: ", labels: {istio.io/dataplane-mode: none}")));
        var report = await AskAsync(world);
        Assert.Equal("silent", report.Nodes[0].Agent.State);
        Assert.Equal((1, 0, 1, 1), (report.Pods.Enrolled, report.Pods.Verified, report.Pods.Gaps, report.Pods.Exempt));
        Assert.Equal(("shop/out", "not-enrolled"), (report.Gaps[0].Pod, report.Gaps[0].Reason));
    }

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("{}")]
    [InlineData("{\"node\":\"n1\",\"pods\":[{}]}")]
    public async Task An_answer_that_is_none_is_a_problem_of_that_node_only(string json)
    {
        Serve(8000, "/debug/coverage", () => json);
        await using var world = await StartAsync(string.Join("---\n", World, Part("istio-cni-node-1", "{k8s-app: istio-cni-node}", "n1", _node, 15014), Pod("good", "n1")));
        var report = await AskAsync(world);
        Assert.Equal("unreachable", report.Nodes[0].Agent.State);
        Assert.NotNull(report.Nodes[0].Agent.Problem);
        Assert.Equal("node-agent-silent", Assert.Single(report.Gaps).Reason);
    }

    [Theory]
    [InlineData("{\"node\":\"n1\",\"pods\":null}")]
    [InlineData("{\"node\":\"n1\",\"pods\":[null,{\"pod\":\"shop/good\",\"uid\":null,\"state\":\"verified\"},{\"pod\":\"shop/good\",\"uid\":\"good-uid\",\"state\":\"splendid\"}]}")]
    public async Task A_report_with_unreadable_pods_leaves_their_labels_to_tell(string json)
    {
        Serve(8000, "/debug/coverage", () => json);
        await using var world = await StartAsync(string.Join("---\n", World, Part("istio-cni-node-1", "{k8s-app: istio-cni-node}", "n1", _node, 15014), Pod("good", "n1")));
        var report = await AskAsync(world);
        Assert.Equal("fresh", report.Nodes[0].Agent.State);
        Assert.Equal("not-enrolled", Assert.Single(report.Gaps).Reason);
    }

    [Theory]
    [InlineData("gzip")]
    [InlineData("gzip, gzip")]
    public async Task A_body_that_is_not_encoded_as_it_says_is_a_problem_of_that_node_only(string encoding)
    {
        Serve(8000, "/debug/coverage", () => HttpEndpointResponse.Text(200, "surely no gzip") with { Headers = [("content-encoding", encoding)] });
        await using var world = await StartAsync(string.Join("---\n", World, Part("istio-cni-node-1", "{k8s-app: istio-cni-node}", "n1", _node, 15014), Pod("good", "n1")));
        var report = await AskAsync(world);
        Assert.Equal("unreachable", report.Nodes[0].Agent.State);
        Assert.False(world.Process.Ended.IsCompleted);
    }

    [Fact]
    public async Task A_round_that_fails_is_told_and_the_next_one_is_made()
    {
        await using var api = await FakeCluster.StartAsync();
        api.Put(KubernetesObjects.OfYaml(string.Join("---\n", World, Pod("alone", "n1"))));
        using var client = new KubernetesClient(api.Connection, new KubernetesClientOptions { Name = "test" });
        var clock = new FakeTimeProvider();
        var log = new FailingLog();
        using var stop = new CancellationTokenSource();
        var cluster = new ClusterWatch(client, "istio-system", NullLoggerFactory.Instance);
        using var coverage = new CoverageWatch(cluster, "istio-system", TimeSpan.FromSeconds(30), clock, log);
        Task[] running = [cluster.RunAsync(stop.Token), coverage.RunAsync(stop.Token)];
        Assert.Equal(LogLevel.Warning, await log.Told.Reader.ReadAsync(Patience.Token));   // of the pod that has no agent, which fails the round
        Assert.Equal(LogLevel.Error, await log.Told.Reader.ReadAsync(Patience.Token));
        await clock.TimersArmedAsync(1, Patience.Token);
        api.Put(KubernetesObjects.OfYaml(Pod("another", "n1")));
        var pods = cluster.Pods.SubscribeUntil(stop.Token);
        while ((await pods.ReadAsync(Patience.Token)).Key.Name != "another") { }
        clock.Advance(TimeSpan.FromSeconds(30));
        Assert.Equal(LogLevel.Warning, await log.Told.Reader.ReadAsync(Patience.Token));
        await stop.CancelAsync();
        await Task.WhenAll(running).ContinueWith(_ => { }, TaskScheduler.Default);
    }

    [Fact]
    public async Task Nodes_that_do_not_answer_hold_up_a_refresh_only_so_long()
    {
        await using var cluster = await FakeCluster.StartAsync();
        cluster.Put(KubernetesObjects.OfYaml(string.Join("---\n", World, string.Join("---\n", Enumerable.Range(0, 40).Select(i => Part($"z{i}", "{app: ztunnel}", "n1", _node, 1))))));
        using var client = new KubernetesClient(cluster.Connection, new KubernetesClientOptions { Name = "test" });
        using var stop = new CancellationTokenSource();
        var watch = new ClusterWatch(client, "istio-system", NullLoggerFactory.Instance);
        var watching = watch.RunAsync(stop.Token);
        await watch.WaitForSyncAsync(Patience.Token);
        var clock = new FakeTimeProvider();
        using var coverage = new CoverageWatch(watch, "istio-system", TimeSpan.Zero, clock, NullLogger.Instance, new Silence());
        var refreshing = coverage.RefreshAsync(TimeSpan.FromSeconds(4), Patience.Token);
        await clock.TimersArmedAsync(17, Patience.Token);   // 16 side by side, and the round
        clock.Advance(TimeSpan.FromSeconds(4));
        await Patience.Within(refreshing);
        var node = coverage.Report(0).Nodes[0].Ztunnel;
        Assert.Equal(("unreachable", true), (node.State, node.Problem?.Contains("has not been asked yet", StringComparison.Ordinal)));
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => watching);
    }

    private sealed class Silence : HttpMessageHandler
    {
        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, cancellationToken);
            throw new System.Diagnostics.UnreachableException();
        }
    }

    /// <summary>Fails at the first warning.</summary>
    private sealed class FailingLog : ILogger
    {
        private bool _failed;

        public Channel<LogLevel> Told { get; } = Channel.CreateUnbounded<LogLevel>();
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;
        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            Told.Writer.TryWrite(logLevel);
            if (_failed) return;
            _failed = true;
            throw new InvalidOperationException("nobody writes logs");
        }
    }

    [Fact]
    public async Task The_number_of_pairs_asked_for_has_a_limit()
    {
        await using var world = await StartAsync(World);
        Assert.Equal(400, (await world.GetAsync("/debug/coverage?limit=-1")).Status);
        Assert.Equal(400, (await world.GetAsync("/debug/coverage?limit=99999999")).Status);
        Assert.Equal(200, (await world.GetAsync("/debug/coverage")).Status);
    }

    [Fact]
    public void Only_pods_of_the_system_namespaces_are_asked()
    {
        var pods = KubernetesObjects.OfYaml(string.Join("---\n", Part("a", "{k8s-app: istio-cni-node}", "n1", _node, 1), Part("b", "{app: ztunnel}", "n1", _node, 99999).Replace("istio-system", "kube-system"),
            Part("c", "{app: ztunnel}", "n1", _node, 1).Replace("istio-system", "shop"), Part("d", "{app: other}", "n1", _node, 1))).OfType<Pod>();
        Assert.Equal([$"http://{_node}:8000/debug/coverage", $"http://{_node}:15020/stats/prometheus"], NodeParts.Of(pods, "istio-system").Select(part => part.Address.ToString()));
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var owned in _owned) await owned.DisposeAsync();
    }
}
