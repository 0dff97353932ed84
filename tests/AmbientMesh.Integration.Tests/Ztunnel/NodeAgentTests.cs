using System.Net;
using System.Net.Sockets;
using AmbientMesh.Protocol.Zds;
using AmbientMesh.Ztunnel.InPod;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>What the proxy does with the pods a node agent gives and takes, with real namespaces.</summary>
public sealed class NodeAgentTests : IAsyncLifetime
{
    private PodNetwork _network = null!;
    private ControlPlaneStandIn _plane = null!;
    private TestNode _node = null!;
    private PodNamespace _server = null!;
    private PodNamespace _client = null!;
    private PodServer _app = null!;

    public async ValueTask InitializeAsync()
    {
        _network = await PodNetwork.CreateAsync();
        _plane = await ControlPlaneStandIn.StartAsync();
        _node = await TestNode.StartAsync("n1", _plane, snapshot: false);
        (_server, _client) = (await PodAsync("server"), await PodAsync("client"));
        _app = PodServer.Echo(_server, 8080);
        await _node.Agent.AcceptAsync();
    }

    public async ValueTask DisposeAsync()
    {
        _app?.Dispose();
        if (_node is not null) await _node.DisposeAsync();
        if (_plane is not null) await _plane.DisposeAsync();
        if (_network is not null) await _network.DisposeAsync();
    }

    private async Task<PodNamespace> PodAsync(string name)
    {
        var pod = await _network.AddPodAsync(name);
        await TestMesh.RedirectAsync(pod);
        _plane.Put(TestMesh.WorkloadOf(pod, "n1", hbone: true));
        return pod;
    }

    private async Task SnapshotAsync(params PodNamespace[] pods)
    {
        foreach (var pod in pods) Assert.Equal("", await _node.Agent.AddAsync(TestMesh.UidOf(pod), pod));
        Assert.Equal("", await _node.Agent.SnapshotSentAsync());
    }

    private Task<string> CallAsync() => PodClient.CallAsync(_client, TestMesh.At(_server, 8080));

    [Fact, Scenario("L4-130", "L4-150")]
    public async Task Ready_after_the_last_acknowledgement_and_not_before()
    {
        Assert.Equal(["workload proxy manager"], _node.App.Readiness.Pending);
        Assert.Equal("", await _node.Agent.AddAsync("a", _server));
        Assert.Equal(["workload proxy manager"], _node.App.Readiness.Pending);
        await SnapshotAsync(_client);
        Assert.True(_node.App.Readiness.IsReady);
        Assert.Equal("ping", await CallAsync());
    }

    [Fact, Scenario("L4-151")]
    public async Task A_pod_without_info_ends_the_process_and_one_without_descriptor_only_the_connection()
    {
        await SnapshotAsync();
        Assert.Equal("failure to read message : No control message", await _node.Agent.SendAsync(new WorkloadRequest { Add = new AddWorkload { Uid = "x", WorkloadInfo = new WorkloadInfo { Name = "x" } } }));
        Assert.True(await _node.Agent.IsClosedByPeerAsync());
        await _node.Agent.AcceptAsync();
        Assert.False(_node.App.Readiness.IsReady);
        Assert.Equal("failure to process message : ProtocolError(\"workload_info is required but not present\")",
            await _node.Agent.SendAsync(new WorkloadRequest { Add = new AddWorkload { Uid = "x" } }, _server.Namespace.Handle));
        await Assert.ThrowsAsync<ZdsProtocolException>(() => Patience.Within(_node.App.Running));
    }

    [Fact, Scenario("L4-152")]
    public async Task A_repeated_pod_changes_nothing_and_one_with_another_namespace_is_moved()
    {
        await SnapshotAsync(_server, _client);
        using var open = await PodClient.ConnectAsync(_client, TestMesh.At(_server, 8080));
        await PingAsync(open);
        Assert.Equal("", await _node.Agent.AddAsync(TestMesh.UidOf(_server), _server));
        await PingAsync(open);
        Assert.Equal(2, _node.Metric("workload_manager_proxies_started_total"));

        var moved = await PodAsync("moved");
        Assert.Equal("", await _node.Agent.AddAsync(TestMesh.UidOf(_server), moved));
        await AssertEndsAsync(open);
        Assert.Equal((3, 1, 2), (_node.Metric("workload_manager_proxies_started_total"), _node.Metric("workload_manager_proxies_stopped_total"), _node.Metric("workload_manager_active_proxy_count")));
    }

    [Fact, Scenario("L4-153")]
    public async Task A_pod_whose_port_is_taken_waits_is_tried_again_and_can_be_taken_back()
    {
        await SnapshotAsync(_client);
        var unwanted = await PodAsync("unwanted");
        using var inTheWay = Taking15001(unwanted);
        Assert.StartsWith("failure to start proxy", await _node.Agent.AddAsync("u", unwanted));
        Assert.Equal(["workload proxy manager"], _node.App.Readiness.Pending);
        Assert.Equal("", await _node.Agent.DeleteAsync("u"));   // taken back while it waits
        Assert.Empty(_node.App.Readiness.Pending);
        Assert.Equal(0, _node.Metric("workload_manager_pending_proxy_count"));

        var taken = Taking15001(_server);
        Assert.Equal("failure to start proxy : Bind([::]:15001, Os { code: 98, kind: AddrInUse, message: \"Address already in use\" })", await _node.Agent.AddAsync("s", _server));
        Assert.Equal(["workload proxy manager"], _node.App.Readiness.Pending);
        Assert.Equal(1, _node.Metric("workload_manager_pending_proxy_count"));
        taken.Dispose();
        await Patience.Within(_node.App.Readiness.WhenReadyAsync(Patience.Token));   // the retry, 5 s later
        Assert.Equal("ping", await CallAsync());
    }

    private static Socket Taking15001(PodNamespace pod) => pod.Namespace.Run(() =>
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Any, 15001));
        socket.Listen();
        return socket;
    });

    [Fact, Scenario("L4-154", "L4-155", "L4-156")]
    public async Task An_agent_that_restarts_interrupts_nothing_and_its_snapshot_decides()
    {
        var gone = await PodAsync("gone");
        await SnapshotAsync(_server, _client, gone);
        using var open = await PodClient.ConnectAsync(_client, TestMesh.At(_server, 8080));
        await PingAsync(open);

        _node.Agent.Disconnect();
        await _node.Agent.AcceptAsync();
        Assert.False(_node.App.Readiness.IsReady);
        await PingAsync(open);
        Assert.Equal("", await _node.Agent.KeepAsync(TestMesh.UidOf(_client)));
        await SnapshotAsync(_server);   // "gone" is not mentioned
        Assert.True(_node.App.Readiness.IsReady);
        await PingAsync(open);
        Assert.Equal("ping", await CallAsync());
        Assert.Equal((2, 1), (_node.Metric("workload_manager_active_proxy_count"), _node.Metric("workload_manager_proxies_stopped_total")));
        Assert.Contains("pod keep received after snapshot", await _node.Agent.KeepAsync(TestMesh.UidOf(_client)));
    }

    [Fact, Scenario("L4-160")]
    public async Task A_deleted_pod_loses_its_connections_at_once_and_stays_closed()
    {
        await SnapshotAsync(_server, _client);
        using var open = await PodClient.ConnectAsync(_client, TestMesh.At(_server, 8080));
        await PingAsync(open);
        Assert.Equal("", await _node.Agent.DeleteAsync(TestMesh.UidOf(_server)));
        await AssertEndsAsync(open);
        Assert.True(await PodClient.FailsAsync(_client, TestMesh.At(_server, 8080)));
        await _node.Log.LineAsync("connection complete", "direction=\"inbound\"", "error=\"connection closed due to connection drain\"");
    }

    [Fact, Scenario("L4-159")]
    public async Task A_proxy_told_to_stop_lets_connections_run_until_its_deadline()
    {
        var deadline = TimeSpan.FromSeconds(17);   // no other timer has this length
        var clock = new HeldClock(deadline);
        await _node.DisposeAsync();
        _node = await TestNode.StartAsync("n1", _plane, snapshot: false, with: settings => settings with { TerminationDeadline = deadline }, clock: clock);
        await _node.Agent.AcceptAsync();
        await SnapshotAsync(_server, _client);
        using var open = await PodClient.ConnectAsync(_client, TestMesh.At(_server, 8080));
        await PingAsync(open);
        var draining = _node.App.DrainAsync();
        await Eventually.IsTrueAsync(() => !CanConnect(), "the listener is closed");
        await clock.TimersAsync(times => times.Count(time => time == deadline) == 2, Patience.Token);   // of each pod's proxy
        clock.Advance(deadline - TimeSpan.FromSeconds(1));
        await PingAsync(open);
        Assert.False(draining.IsCompleted);
        clock.Advance(TimeSpan.FromSeconds(1));
        await Patience.Within(draining);
        await AssertEndsAsync(open);
        await _node.Log.LineAsync("connection complete", "error=\"connection failed to drain within the timeout\"");
    }

    [Fact]
    public async Task A_drain_ends_as_soon_as_the_last_connection_does()
    {
        await SnapshotAsync(_server, _client);
        var open = await PodClient.ConnectAsync(_client, TestMesh.At(_server, 8080));
        await PingAsync(open);
        var draining = _node.App.DrainAsync();
        open.Dispose();
        await Patience.Within(draining);
        Assert.DoesNotContain(_node.Log.Lines, line => line.Contains("failed to drain", StringComparison.Ordinal));
    }

    [Fact, Scenario("L4-143", "L4-146")]
    public async Task Without_a_certificate_nothing_leaves_the_pod_and_other_pods_are_served()
    {
        await SnapshotAsync(_server, _client);
        Assert.Equal("ping", await CallAsync());
        _plane.CaRefusal = new Rpc.RpcException(Rpc.StatusCode.Unauthenticated, "request impersonation authentication failure");
        var late = await PodAsync("late");
        Assert.Equal("", await _node.Agent.AddAsync("late", late));
        await _node.Log.LineAsync("certificate fetch failed", "sa/late");   // asked for ahead of any connection
        Assert.True(await PodClient.FailsAsync(late, TestMesh.At(_server, 8080)));
        await _node.Log.LineAsync("connection complete", "src.workload=\"late\"", "error=\"identity error: signing gRPC error (The request does not have valid authentication credentials): request impersonation authentication failure\"");
        Assert.Equal("ping", await CallAsync());
    }

    [Fact]
    public async Task A_pod_discovery_does_not_know_is_closed()
    {
        var unknown = await _network.AddPodAsync("unknown");
        await TestMesh.RedirectAsync(unknown);
        await SnapshotAsync(_server, unknown);
        Assert.True(await PodClient.FailsAsync(unknown, TestMesh.At(_server, 8080)));
        await _node.Log.LineAsync("connection failed", "error=\"failed to fetch information about local workload: unknown.default (unknown)\"");
    }

    private bool CanConnect()
    {
        try
        {
            using var socket = _client.Namespace.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
            socket.Connect(TestMesh.At(_server, 8080));
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private static async Task PingAsync(TcpClient client)
    {
        await client.GetStream().WriteAsync("x"u8.ToArray(), Patience.Token);
        Assert.Equal(1, await client.GetStream().ReadAsync(new byte[1], Patience.Token));
    }

    private static async Task AssertEndsAsync(TcpClient client)
    {
        try
        {
            Assert.Equal(0, await client.GetStream().ReadAsync(new byte[1], Patience.Token));
        }
        catch (IOException)
        {
            // Reset: as good an end.
        }
    }
}
