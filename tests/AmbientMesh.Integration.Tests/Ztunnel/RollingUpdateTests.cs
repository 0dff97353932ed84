using Security = AmbientMesh.Protocol.Security;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>A new proxy takes over from an old one on the same node.</summary>
public sealed class RollingUpdateTests : IAsyncLifetime
{
    private readonly string _handover = Path.Combine(Path.GetTempPath(), $"amz-handover-{Guid.NewGuid():N}.sock");
    private PodNetwork _network = null!;
    private ControlPlaneStandIn _plane = null!;
    private TestNode _old = null!;
    private PodNamespace _server = null!;
    private PodNamespace _client = null!;
    private PodServer _app = null!;

    public async ValueTask InitializeAsync()
    {
        _network = await PodNetwork.CreateAsync();
        _plane = await ControlPlaneStandIn.StartAsync();
        (_server, _client) = (await PodAsync("server"), await PodAsync("client"));
        _app = PodServer.Echo(_server, 8080);
        _old = await StartAsync();
    }

    public async ValueTask DisposeAsync()
    {
        _app?.Dispose();
        if (_old is not null) await _old.DisposeAsync();
        if (_plane is not null) await _plane.DisposeAsync();
        if (_network is not null) await _network.DisposeAsync();
        File.Delete(_handover);
        File.Delete(_handover + ".foreign");
    }

    private async Task<PodNamespace> PodAsync(string name)
    {
        var pod = await _network.AddPodAsync(name);
        await TestMesh.RedirectAsync(pod);
        _plane.Put(TestMesh.WorkloadOf(pod, "n1", hbone: true));
        return pod;
    }

    private async Task<TestNode> StartAsync(Func<AmbientMesh.Ztunnel.Configuration.ZtunnelSettings, AmbientMesh.Ztunnel.Configuration.ZtunnelSettings>? with = null)
    {
        var node = await TestNode.StartAsync("n1", _plane, with: settings => (with ?? (s => s))(settings with { HandoverSocket = _handover }));
        foreach (var pod in (PodNamespace[])[_server, _client]) Assert.Equal("", await node.Agent.AddAsync(TestMesh.UidOf(pod), pod));
        return node;
    }

    private Task<string> CallAsync() => PodClient.CallAsync(_client, TestMesh.At(_server, 8080));

    [Fact, Scenario("L4-158")]
    public async Task No_new_connection_fails_while_one_proxy_after_another_is_replaced()
    {
        await using var load = new CallLoad(CallAsync, callers: 6);
        await Patience.Within(load.MadeAsync(20));
        List<LogCollector> logs = [_old.Log];
        for (var update = 0; update < 3; update++)
        {
            var before = _old;
            _old = await StartAsync();
            logs.Add(_old.Log);
            await Patience.Within(load.MadeAsync(20));   // side by side
            await Patience.Within(before.App.DrainAsync());
            await before.DisposeAsync();
            await Patience.Within(load.MadeAsync(20));
        }
        await load.StopAsync();
        Assert.True(load.Failed == 0, $"{load.Failed} of {load.Made + load.Failed} failed: {load.FirstFailure}\n{string.Join('\n', logs.SelectMany(log => log.Lines.Where(line => line.Contains("error=", StringComparison.Ordinal))))}");
        Assert.True(_old.Metric("istio_tcp_connections_opened_total", "reporter=\"source\"") > 10);
    }

    [Fact]
    public async Task Open_connections_of_the_old_proxy_run_on_and_obey_policy_while_it_drains()
    {
        using var open = await PodClient.ConnectAsync(_client, TestMesh.At(_server, 8080));
        await open.GetStream().WriteAsync("x"u8.ToArray(), Patience.Token);
        Assert.Equal(1, await open.GetStream().ReadAsync(new byte[1], Patience.Token));
        await using var fresh = await StartAsync();
        var draining = _old.App.DrainAsync();
        Assert.Equal("ping", await CallAsync());
        await open.GetStream().WriteAsync("y"u8.ToArray(), Patience.Token);
        Assert.Equal(1, await open.GetStream().ReadAsync(new byte[1], Patience.Token));
        Assert.False(draining.IsCompleted);
        _plane.Put(new Security.Authorization { Name = "deny-all", Namespace = "default", Scope = Security.Scope.Namespace, Action = Security.Action.Deny, Rules = { new Security.Rule() } });
        await _old.Log.LineAsync("connection complete", "error=\"connection closed due to policy change\"");
        await Patience.Within(draining);
    }

    [Fact, Scenario("L4-158")]
    public async Task New_connections_go_on_while_one_proxy_replaces_another_that_hands_nothing_over()
    {
        await _old.DisposeAsync();
        _old = await StartAsync(settings => settings with { HandoverSocket = _handover + ".foreign" });
        await using var load = new CallLoad(CallAsync, callers: 1);
        await Patience.Within(load.MadeAsync(5));
        await using var fresh = await StartAsync();
        await Patience.Within(_old.App.DrainAsync());
        await Patience.Within(load.MadeAsync(20));
        await load.StopAsync();
        Assert.True(load.Failed * 10 <= load.Made, $"{load.Failed} of {load.Made + load.Failed} connections failed: {load.FirstFailure}");
        Assert.True(fresh.Metric("istio_tcp_connections_opened_total", "reporter=\"source\"") > 10);
    }

    [Fact, Scenario("L4-015")]
    public async Task An_unused_tunnel_is_closed_by_the_client()
    {
        await using var node = await StartAsync(settings => settings with { PoolUnusedReleaseTimeout = TimeSpan.FromSeconds(1) });
        await Patience.Within(_old.App.DrainAsync());
        using (var open = await PodClient.ConnectAsync(_client, TestMesh.At(_server, 8080)))
        {
            await open.GetStream().WriteAsync("x"u8.ToArray(), Patience.Token);
            Assert.Equal(1, await open.GetStream().ReadAsync(new byte[1], Patience.Token));
            Assert.Equal(1, node.Metric("istio_tcp_sockets_open", "destination"));   // in use
        }
        await Eventually.IsTrueAsync(() => node.Metric("istio_tcp_sockets_open", "destination") == 0, "the tunnel is closed");
        Assert.Equal("ping", await CallAsync());
    }
}
