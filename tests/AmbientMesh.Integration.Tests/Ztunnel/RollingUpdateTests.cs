namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>A new proxy takes over from an old one on the same node.</summary>
public sealed class RollingUpdateTests : IAsyncLifetime
{
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
        var node = await TestNode.StartAsync("n1", _plane, with: with);
        foreach (var pod in (PodNamespace[])[_server, _client]) Assert.Equal("", await node.Agent.AddAsync(TestMesh.UidOf(pod), pod));
        return node;
    }

    private Task<string> CallAsync() => PodClient.CallAsync(_client, TestMesh.At(_server, 8080));

    [Fact, Scenario("L4-158")]
    public async Task New_connections_go_on_while_one_proxy_replaces_another()
    {
        Assert.Equal("ping", await CallAsync());
        var (succeeded, failed) = (0, 0);
        using var stop = new CancellationTokenSource();
        var load = Task.Run(async () =>
        {
            while (!stop.IsCancellationRequested)
            {
                try
                {
                    if (await CallAsync() == "ping") succeeded++;
                    else failed++;
                }
                catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException)
                {
                    failed++;
                }
            }
        }, CancellationToken.None);
        await using var fresh = await StartAsync();
        await Patience.Within(_old.App.DrainAsync());
        var during = succeeded;
        await Eventually.IsTrueAsync(() => Volatile.Read(ref succeeded) > during + 20, "connections go on after the old one has gone");
        await stop.CancelAsync();
        await Patience.Within(load);
        Assert.True(failed * 10 <= succeeded, $"{failed} of {succeeded + failed} connections failed");
        Assert.True(fresh.Metric("istio_tcp_connections_opened_total", "reporter=\"source\"") > 20);
    }

    [Fact, Scenario("L4-015")]
    public async Task An_unused_tunnel_is_closed_by_the_client()
    {
        await using var node = await StartAsync(settings => settings with { PoolUnusedReleaseTimeout = TimeSpan.FromSeconds(1) });
        await Patience.Within(_old.App.DrainAsync());
        Assert.Equal("ping", await CallAsync());
        Assert.Equal(1, node.Metric("istio_tcp_sockets_open", "destination"));
        await Eventually.IsTrueAsync(() => node.Metric("istio_tcp_sockets_open", "destination") == 0, "the tunnel is closed");
        Assert.Equal("ping", await CallAsync());
    }
}
