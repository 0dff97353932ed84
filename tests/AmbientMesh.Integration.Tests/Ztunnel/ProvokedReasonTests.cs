using System.Net;
using AmbientMesh.Hbone;
using AmbientMesh.Hbone.Http2;
using AmbientMesh.Hbone.Tests;
using AmbientMesh.Identity;
using AmbientMesh.Linux;
using AmbientMesh.Model;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>Reasons that only real sockets and tunnels bring about, each provoked and told alike by log and metric.</summary>
public sealed class ProvokedReasonTests : IClassFixture<TestMesh>
{
    private readonly TestMesh _mesh;

    public ProvokedReasonTests(TestMesh shared)
    {
        _mesh = shared;
        _mesh.BeginAnew();
    }

    [Fact]
    public async Task Unreachable()
    {
        var client = await ImpatientAsync("cut-off");
        await InAsync(client, "ip rule add pref 5 fwmark 1337 to 10.99.0.1 unreachable");
        Assert.True(await PodClient.FailsAsync(client, IPEndPoint.Parse("10.99.0.1:80")));
        await ToldAsync("unreachable", "dst.addr=10.99.0.1:80");
    }

    [Fact]
    public async Task Connect_timeout()
    {
        var client = await ImpatientAsync("hasty");
        var silent = await _mesh.Network.AddPodAsync("silent");
        await InAsync(silent, "iptables -A INPUT -p tcp --dport 8080 -j DROP");
        Assert.True(await PodClient.FailsAsync(client, TestMesh.At(silent, 8080)));
        await ToldAsync("connect-timeout", $"dst.addr={silent.V4}:8080");
    }

    [Fact]
    public async Task Hbone_timeout()
    {
        var client = await ImpatientAsync("hurried");
        var walled = await PeerAsync("walled");
        await InAsync(walled, "iptables -A INPUT -p tcp --dport 15008 -j DROP");
        Assert.True(await PodClient.FailsAsync(client, TestMesh.At(walled, 8080)));
        await ToldAsync("hbone-timeout", $"dst.addr={walled.V4}:15008");
        await _mesh.Near.MetricGrowsAsync("istio_tcp_connections_failed_total", "destination_workload=\"walled\"", "response_flags=\"NETWORK_POLICY\"");
    }

    [Fact]
    public async Task Stream_refused()
    {
        var full = await PeerAsync("full");
        await using var end = TunnelEndStandIn.Start(_mesh.Plane, full, new HboneOptions { MaxConcurrentStreams = 0 }, request => request.Accept());
        Assert.True(await PodClient.FailsAsync(_mesh.Client, TestMesh.At(full, 8080)));
        await ToldAsync("stream-refused", $"dst.addr={full.V4}:15008");
    }

    [Fact]
    public async Task Tunnel_failed_before_its_answer()
    {
        var rude = await PeerAsync("rude");
        await using var end = TunnelEndStandIn.Start(_mesh.Plane, rude, new HboneOptions(), request => request.Connection.Abort());
        Assert.True(await PodClient.FailsAsync(_mesh.Client, TestMesh.At(rude, 8080)));
        await ToldAsync("tunnel-failed", $"dst.addr={rude.V4}:15008");
    }

    [Fact]
    public async Task Tunnel_lost_while_it_carried_bytes()
    {
        var frail = await PeerAsync("frail");
        await using var end = TunnelEndStandIn.Start(_mesh.Plane, frail, new HboneOptions(), request => _ = CarryAsync(request));
        Assert.True(await PodClient.FailsAsync(_mesh.Client, TestMesh.At(frail, 8080)));
        await ToldAsync("tunnel-lost", $"dst.addr={frail.V4}:15008");

        // The application's bytes come after the answer: the answer came through.
        static async Task CarryAsync(HboneRequest request)
        {
            await using var stream = request.Accept();
            Assert.Equal(4, await stream.ReadAsync(new byte[16], Patience.Token));
            request.Connection.Abort();
        }
    }

    [Fact]
    public async Task Http2_error_at_either_end()
    {
        var babbler = await PeerAsync("babbler");
        await using var end = TunnelEndStandIn.Start(_mesh.Plane, babbler, async tls =>
        {
            await tls.WriteAsync("HTTP/1.1 400 Bad Request\r\n\r\n"u8.ToArray(), Patience.Token);
            while (await tls.ReadAsync(new byte[1024], Patience.Token) > 0) { }
        });
        Assert.True(await PodClient.FailsAsync(_mesh.Client, TestMesh.At(babbler, 8080)));
        await ToldAsync("http2-error", $"dst.addr={babbler.V4}:15008");

        await using var client = await TlsToServerAsync();
        await client.WriteAsync("GET / HTTP/1.1\r\nHost: server\r\n\r\n"u8.ToArray(), Patience.Token);
        await _mesh.Far.Log.LineAsync("connection failed", $"src.addr={_mesh.Plain.V4}", "reason=\"http2-error\"");
        await _mesh.Far.MetricGrowsAsync("ambientmesh_connections_refused_total", "reporter=\"destination\"", "reason=\"http2-error\"");
    }

    [Fact]
    public async Task No_address()
    {
        // The service is of the one family, its only endpoint of the other.
        _mesh.Plane.Put(DnsMesh.Service("nowhere", "10.1.0.77", with: s => s.IpFamilies = Wds.IPFamilies.Ipv6Only));
        _mesh.Plane.Put(TestMesh.WorkloadOf(_mesh.Plain, "n2", hbone: true, w =>
        {
            w.Uid = "Kubernetes//Pod/default/nowhere";
            w.Name = w.ServiceAccount = w.WorkloadName = "nowhere";
            w.Addresses.Clear();
            w.Addresses.Add(Google.Protobuf.ByteString.CopyFrom(10, 9, 8, 7));
            w.Services["default/nowhere.default.svc.cluster.local"] = new Wds.PortList { Ports = { new Wds.Port { ServicePort = 80, TargetPort = 8080 } } };
        }));
        await Patience.Within(_mesh.Near.App.Mesh.WhenAsync(m => m.FindWorkload("Kubernetes//Pod/default/nowhere"), Patience.Token).AsTask());
        await Patience.Within(_mesh.Near.App.Mesh.WhenAsync(m => m.FindService(new ServiceName("default", "nowhere.default.svc.cluster.local")), Patience.Token).AsTask());
        Assert.True(await PodClient.FailsAsync(_mesh.Client, IPEndPoint.Parse("10.1.0.77:80")));
        await ToldAsync("no-address", "dst.addr=10.1.0.77:80");
    }

    [Fact]
    public async Task Transfer_failed()
    {
        // A peer that falls silent in the middle: the kernel gives the connection up after the keep-alives that the settings ask for.
        await using var node = await TestNode.StartAsync("n5", _mesh.Plane, with: settings => settings with { KeepAliveTime = TimeSpan.FromSeconds(1), KeepAliveInterval = TimeSpan.FromSeconds(1), KeepAliveRetries = 1 });
        var client = await _mesh.Network.AddPodAsync("bereft");
        await TestMesh.RedirectAsync(client);
        _mesh.Plane.Put(TestMesh.WorkloadOf(client, "n5", hbone: true));
        await Patience.Within(node.App.Mesh.WhenAsync(m => m.FindWorkload(new WorkloadInfo("bereft", "default", "bereft")), Patience.Token).AsTask());
        Assert.Equal("", await node.Agent.AddAsync(TestMesh.UidOf(client), client));
        var vanishing = await _mesh.Network.AddPodAsync("vanishing");
        using var app = PodServer.Echo(vanishing, 8080);
        using var open = await PodClient.ConnectAsync(client, TestMesh.At(vanishing, 8080));
        await open.GetStream().WriteAsync("x"u8.ToArray(), Patience.Token);
        Assert.Equal(1, await open.GetStream().ReadAsync(new byte[1], Patience.Token));
        await InAsync(vanishing, "iptables -A INPUT -p tcp --dport 8080 -j DROP");
        await node.Log.LineAsync("connection complete", $"dst.addr={vanishing.V4}:8080", "reason=\"transfer-failed\"");
    }

    [Theory, Scenario("T-10", "L4-070")]
    [InlineData("")]
    [InlineData("10.98.0.2")]
    [InlineData("10.98.0.2:0")]
    [InlineData("10.98.0.2:65536")]
    [InlineData("10.98.0.2:+80")]
    [InlineData("user@10.98.0.2:8080")]
    [InlineData("10.98.0.2:8080,10.98.0.3:8080")]
    [InlineData("http://10.98.0.2:8080")]
    [InlineData("10.25090:8080")]
    [InlineData("[fe80::1%eth0]:8080")]
    [InlineData("[10.98.0.2]:8080")]
    [InlineData("10.98.0.2:8080/path")]
    public async Task An_authority_that_is_none_is_answered_400_and_the_stream_closed_without_a_dial(string authority)
    {
        var dialled = _mesh.ServerApp.Peers.Count;
        await using var tls = await TlsToServerAsync();
        var peer = new RawPeer(tls);
        await peer.GreetAsync();
        await peer.ConnectAsync(1, authority);
        await peer.SkipToAsync(f => f.Header is { Type: FrameType.Headers, StreamId: 1 } && f.Header.Flags.HasFlag(FrameFlags.EndStream));
        var reset = await peer.SkipToAsync(f => f.Header is { Type: FrameType.RstStream, StreamId: 1 });
        Assert.Equal(ErrorCode.NoError, reset.Code);
        await _mesh.Far.Log.LineAsync("connection failed", "reason=\"bad-request\"", $"error=\"no valid authority pseudo header: {authority}\"");
        Assert.Equal(dialled, _mesh.ServerApp.Peers.Count);
    }

    [Theory, Scenario("T-10")]
    [InlineData(":authority", "10.98.0.3:8080")]
    [InlineData(":path", "/")]
    [InlineData(":scheme", "https")]
    [InlineData(":protocol", "websocket")]
    [InlineData("Upper-Case", "x")]
    public async Task A_request_with_one_field_too_many_is_reset_without_a_dial_and_the_tunnel_goes_on(string name, string value)
    {
        var dialled = _mesh.ServerApp.Peers.Count;
        await using var tls = await TlsToServerAsync();
        var peer = new RawPeer(tls);
        await peer.GreetAsync();
        await peer.HeadersAsync(1, [.. RawPeer.ConnectFields($"{_mesh.Server.V4}:8080"), new(name, value)]);
        Assert.Equal(ErrorCode.ProtocolError, (await peer.SkipToAsync(f => f.Header is { Type: FrameType.RstStream, StreamId: 1 })).Code);
        Assert.Equal(dialled, _mesh.ServerApp.Peers.Count);
        await peer.ConnectAsync(3, $"{_mesh.Server.V4}:8080");
        var answer = await peer.SkipToAsync(f => f.Header is { Type: FrameType.Headers, StreamId: 3 });
        Assert.False(answer.Header.Flags.HasFlag(FrameFlags.EndStream));
        await peer.FrameAsync(FrameType.Data, FrameFlags.None, 3, [(byte)'x']);
        var echo = await peer.SkipToAsync(f => f.Header is { Type: FrameType.Data, StreamId: 3 });
        Assert.Equal("78", Convert.ToHexString(echo.Payload));   // the application has accepted this one: no later test sees it come
    }

    private async Task<TlsTransport> TlsToServerAsync()
    {
        var credentials = TlsCredentials.Of(_mesh.Plane.Authority.IssueSvid(HbonePeer.Default), SvidRules.Strict, TimeProvider.System);
        return await TlsHandshake.ConnectAsync(new SocketTransport(await HbonePeer.DialAsync(_mesh.Plain, TestMesh.At(_mesh.Server, 15008))), credentials, [new SpiffeId("cluster.local", "default", "server")], Patience.Token);
    }

    /// <summary>A captured pod on the near node whose kernel waits three seconds for an answer to a connect, and not two minutes.</summary>
    private async Task<PodNamespace> ImpatientAsync(string name)
    {
        var pod = await _mesh.EnrollAsync(name, _mesh.Near);
        await InAsync(pod, "sysctl -qw net.ipv4.tcp_syn_retries=1");
        return pod;
    }

    /// <summary>A pod that the mesh takes for one with a tunnel.</summary>
    private async Task<PodNamespace> PeerAsync(string name)
    {
        var pod = await _mesh.Network.AddPodAsync(name);
        _mesh.Plane.Put(TestMesh.WorkloadOf(pod, "n3", hbone: true));
        await Patience.Within(_mesh.Near.App.Mesh.WhenAsync(m => m.FindWorkload($"Kubernetes//Pod/default/{name}"), Patience.Token).AsTask());
        return pod;
    }

    private async Task ToldAsync(string reason, params string[] parts)
    {
        await _mesh.Near.Log.LineAsync(["direction=\"outbound\"", $"reason=\"{reason}\"", .. parts]);
        await _mesh.Near.MetricGrowsAsync("ambientmesh_connections_refused_total", "reporter=\"source\"", $"reason=\"{reason}\"");
    }

    private static async Task InAsync(PodNamespace pod, string command) =>
        (await HostProgram.RunAsync(new ProgramCall("ip", ["netns", "exec", pod.NetnsName, .. command.Split(' ')]), Patience.Token)).Required();
}
