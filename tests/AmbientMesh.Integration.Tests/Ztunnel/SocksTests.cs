using System.Net;
using System.Net.Sockets;
using System.Text;
using AmbientMesh.Protocol.Security;
using PolicyAction = AmbientMesh.Protocol.Security.Action;
using PolicyMessage = AmbientMesh.Protocol.Security.Authorization;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>Connections that applications ask for through SOCKS5 (L4 reference §2.1).</summary>
public sealed class SocksTests(SocksMesh mesh) : IClassFixture<SocksMesh>
{
    [Theory]
    [InlineData("10.1.0.70", 80)]
    [InlineData("fd01::70", 80)]
    [InlineData("shop", 80)]                              // as the pod's own lookups understand it
    [InlineData("Shop.default.svc.cluster.local", 80)]
    [InlineData("six", 80)]                               // has an IPv6 address only
    public async Task A_service_is_reached_through_a_tunnel(string host, int port)
    {
        var text = $"{host}-{Guid.NewGuid():n}";
        using var client = await SocksClient.GreetedAsync(mesh.Client);
        Assert.Equal(0, await client.RequestAsync(host, port));
        Assert.Equal(text, await client.FinishAsync(text));
        var line = await mesh.Node.Log.LineAsync("connection complete", "direction=\"outbound\"", "src.addr=127.0.0.1:", $"bytes_sent={text.Length} bytes_recv={text.Length}", "dst.service=");
        Assert.Contains("src.identity=\"spiffe://cluster.local/ns/default/sa/client\"", line);
        Assert.Contains("dst.identity=\"spiffe://cluster.local/ns/default/sa/server\"", line);
        await mesh.Node.MetricReachesAsync(1, "istio_tcp_connections_closed_total", "reporter=\"source\"", "source_workload=\"client\"", "destination_workload=\"server\"", "mutual_tls", "response_flags=\"-\"");
    }

    [Fact]
    public async Task A_name_outside_the_mesh_is_looked_up_by_the_name_server()
    {
        using var client = await SocksClient.GreetedAsync(mesh.Client);
        Assert.Equal(0, await client.RequestAsync("outside.test", 8080));
        Assert.Equal("ping", await client.FinishAsync("ping"));
        await mesh.Node.Log.LineAsync("connection complete", "src.addr=127.0.0.1:", $"dst.addr={mesh.Plain.V4}:8080");
    }

    [Fact]
    public async Task A_client_of_another_make_is_served()
    {
        using var http = new HttpClient(new SocketsHttpHandler
        {
            Proxy = new WebProxy("socks5://127.0.0.1:15080"),
            UseProxy = true,
            ConnectCallback = async (_, cancellation) => (await PodClient.ConnectAsync(mesh.Client, new IPEndPoint(IPAddress.Loopback, 15080))).GetStream(),
        });
        using var server = PodServer.Start(mesh.Server, 8081, IPAddress.IPv6Any, async stream =>
        {
            _ = await stream.ReadAsync(new byte[4096], CancellationToken.None);
            await stream.WriteAsync("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"u8.ToArray(), CancellationToken.None);
        });
        Assert.Equal("hello", await http.GetStringAsync(new Uri($"http://{mesh.Server.V4}:8081/"), Patience.Token));
    }

    [Fact, Scenario("T-13")]
    public async Task What_a_client_sends_before_its_answer_reaches_the_destination_once_and_whole()
    {
        using var client = await SocksClient.ConnectAsync(mesh.Client);
        byte[] all = [5, 1, 0, 5, 1, 0, 1, .. mesh.Server.V4.GetAddressBytes(), 0x1f, 0x90, .. "early"u8];
        Assert.Equal("0500" + "05000001000000000000", await client.AskAsync(all, 12));
        Assert.Equal("early and late", await client.FinishAsync(" and late"));
    }

    [Fact]
    public async Task A_policy_of_the_destination_holds_and_the_client_is_told()
    {
        var guarded = await mesh.EnrollAsync("guarded", w => w.AuthorizationPolicies.Add("default/no-client"));
        using var app = PodServer.Echo(guarded, 8080);
        var byClient = new Match { Principals = { new StringMatch { Exact = "cluster.local/ns/default/sa/client" } } };
        mesh.Plane.Put(new PolicyMessage { Name = "no-client", Namespace = "default", Action = PolicyAction.Deny, Scope = Scope.WorkloadSelector, Rules = { new Rule { Clauses = { new Clause { Matches = { byClient } } } } } });
        await Patience.Within(mesh.Node.App.Mesh.WhenAsync(m => m.FindPolicy(new Model.PolicyName("default", "no-client")), Patience.Token).AsTask());

        using var client = await SocksClient.GreetedAsync(mesh.Client);
        Assert.Equal(2, await client.RequestAsync($"{guarded.V4}", 8080, then: "early"));
        Assert.True(await client.IsEndedAsync());
        await mesh.Node.Log.LineAsync("connection complete", "src.addr=127.0.0.1:", "dst.workload=\"guarded\"", "reason=\"denied-by-peer\"");
        await mesh.Node.MetricReachesAsync(1, "ambientmesh_connections_refused_total", "reporter=\"source\"", "reason=\"denied-by-peer\"");
        Assert.Empty(app.Peers);
    }

    [Theory]
    [InlineData("10.1.0.72", 80, 4, "no-healthy-upstream")]
    [InlineData("nowhere.test", 80, 4, "name-unresolved")]
    [InlineData("127.0.0.1", 15001, 2, "self-call")]
    [InlineData("127.0.0.1", 15080, 2, "self-call")]
    [InlineData("::1", 15008, 2, "self-call")]
    public async Task What_cannot_be_reached_has_the_same_reason_as_captured(string host, int port, int code, string reason)
    {
        using var client = await SocksClient.GreetedAsync(mesh.Client);
        Assert.Equal(code, await client.RequestAsync(host, port));
        Assert.True(await client.IsEndedAsync());
        await mesh.Node.Log.LineAsync("connection failed", "src.addr=127.0.0.1:", $":{port}", "direction=\"outbound\"", $"reason=\"{reason}\"");
    }

    [Fact]
    public async Task A_port_nobody_listens_on_is_said_to_refuse()
    {
        using (var direct = await SocksClient.GreetedAsync(mesh.Client)) Assert.Equal(5, await direct.RequestAsync($"{mesh.Plain.V4}", 9));
        using var tunnelled = await SocksClient.GreetedAsync(mesh.Client);
        Assert.Equal(5, await tunnelled.RequestAsync($"{mesh.Server.V4}", 9));
    }

    [Theory, Scenario("T-12")]
    [InlineData(15001)]
    [InlineData(15008)]
    [InlineData(15053)]
    [InlineData(15080)]
    public async Task The_proxys_ports_at_another_pod_stay_closed(int port)
    {
        using var client = await SocksClient.GreetedAsync(mesh.Client);
        Assert.NotEqual(0, await client.RequestAsync($"{mesh.Server.V4}", port));
    }

    [Fact, Scenario("T-10")]
    public async Task Other_commands_methods_and_protocols_are_refused_as_the_rfc_says()
    {
        using (var bind = await SocksClient.GreetedAsync(mesh.Client)) Assert.Equal(7, await bind.RequestAsync("10.1.0.70", 80, command: 2));
        using (var udp = await SocksClient.GreetedAsync(mesh.Client)) Assert.Equal(7, await udp.RequestAsync("10.1.0.70", 80, command: 3, then: "more"));
        using (var password = await SocksClient.ConnectAsync(mesh.Client)) Assert.Equal("05FF", await password.AskAsync([5, 1, 2], 3));
        using (var type = await SocksClient.GreetedAsync(mesh.Client)) Assert.Equal("05080001000000000000", await type.AskAsync([5, 1, 0, 9, 1, 2, 3, 4, 5, 6], 11));
        using (var rubbish = await SocksClient.GreetedAsync(mesh.Client)) Assert.Equal("05010001000000000000", await rubbish.AskAsync([0, 0, 2, 0x1f, 0x90], 11));
        using (var http = await SocksClient.ConnectAsync(mesh.Client)) Assert.Equal("", await http.AskAsync(Encoding.ASCII.GetBytes("GET / HTTP/1.1\r\n\r\n"), 1).ContinueWith(t => t.IsFaulted ? "" : t.Result, TaskScheduler.Default));
        await mesh.Node.Log.LineAsync("connection failed", "error=\"invalid SOCKS5 request: unsupported command 2\"", "reason=\"bad-request\"");
        await mesh.Node.Log.LineAsync("connection failed", "error=\"invalid SOCKS5 request: version 71 is not 5\"");
        using (var leaving = await SocksClient.GreetedAsync(mesh.Client)) await leaving.Stream.WriteAsync(new byte[] { 5, 1, 0 }, Patience.Token);
        await mesh.Node.Log.LineAsync("connection failed", "error=\"invalid SOCKS5 request: the client left before it had asked\"");
    }

    [Fact, Scenario("T-09")]
    public async Task Clients_that_do_not_ask_are_limited_in_number_and_time()
    {
        var clock = new HeldClock(AmbientMesh.Ztunnel.Socks.SocksProxy.HeadTimeout);
        await using var node = await TestNode.StartAsync("n6", mesh.Plane, with: settings => settings with { Socks5 = true }, clock: clock);
        var pod = await mesh.EnrollAsync("slow", node: node);
        var idle = new List<SocksClient>();
        try
        {
            for (var i = 0; i < AmbientMesh.Ztunnel.Socks.SocksProxy.MaxAsking; i++) idle.Add(await SocksClient.GreetedAsync(pod));
            using var another = await SocksClient.ConnectAsync(pod);
            Assert.True(await another.IsEndedAsync());
            await node.Log.LineAsync("connection failed", "error=\"too many SOCKS5 clients asking from 127.0.0.1\"", "reason=\"limit-reached\"");
            clock.Advance(AmbientMesh.Ztunnel.Socks.SocksProxy.HeadTimeout);
            Assert.True(await idle[0].IsEndedAsync());
            await node.Log.LineAsync("connection failed", "error=\"invalid SOCKS5 request: took longer than 5 s\"");
            await Patience.Within(Task.WhenAll(idle.Select(client => client.IsEndedAsync())));
            using var later = await SocksClient.GreetedAsync(pod);
            Assert.Equal(0, await later.RequestAsync("shop", 80));
        }
        finally
        {
            foreach (var client in idle) client.Dispose();
        }
    }

    [Fact]
    public async Task Without_the_dns_proxy_addresses_only_are_taken()
    {
        await using var node = await TestNode.StartAsync("n5", mesh.Plane, with: settings => settings with { Socks5 = true, DnsProxy = false });
        var pod = await mesh.Network.AddPodAsync("nameless");
        await TestMesh.RedirectAsync(pod);
        mesh.Plane.Put(TestMesh.WorkloadOf(pod, "n5", hbone: true));
        Assert.Equal("", await node.Agent.AddAsync(TestMesh.UidOf(pod), pod));
        using (var named = await SocksClient.GreetedAsync(pod)) Assert.Equal(4, await named.RequestAsync("shop", 80));
        await node.Log.LineAsync("connection failed", "reason=\"name-unresolved\"", "the DNS proxy is off");
        using var addressed = await SocksClient.GreetedAsync(pod);
        Assert.Equal(0, await addressed.RequestAsync("10.1.0.70", 80));
    }

    [Fact]
    public async Task Nobody_outside_the_pod_reaches_the_port()
    {
        foreach (var address in (IPAddress[])[mesh.Client.V4, mesh.Client.V6])
        {
            Assert.True(await PodClient.FailsAsync(mesh.Plain, new IPEndPoint(address, 15080)));
            Assert.True(await PodClient.FailsAsync(mesh.Server, new IPEndPoint(address, 15080)));
        }
        using var own = await SocksClient.GreetedAsync(mesh.Client);
        await Assert.ThrowsAsync<SocketException>(() => PodClient.CallAsync(mesh.Client, new IPEndPoint(mesh.Client.V4, 15080)));
    }
}
