using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>Traffic between pods in namespaces, through real redirect rules, proxies and TLS.</summary>
public sealed class PodTrafficTests : IClassFixture<TestMesh>
{
    private readonly TestMesh _mesh;

    public PodTrafficTests(TestMesh shared)
    {
        _mesh = shared;
        _mesh.BeginAnew();
    }

    private static IPEndPoint At(PodNamespace pod, int port = 8080) => TestMesh.At(pod, port);

    /// <summary>A captured server on a node whose open sockets nobody else's tests count towards.</summary>
    private async Task<PodNamespace> ServerAsync(string name, TestNode node)
    {
        var pod = await _mesh.EnrollAsync(name, node);
        _mesh.Add(PodServer.Echo(pod, 8080));
        return pod;
    }

    [Fact, Scenario("L4-002", "L4-006")]
    public async Task Pods_on_two_nodes_talk_over_mutual_tls_and_the_wire_carries_nothing_else()
    {
        var secret = $"secret-{Guid.NewGuid():n}";
        using var capture = _mesh.Network.Capture();
        Assert.Equal(secret, await PodClient.CallAsync(_mesh.Client, At(_mesh.Server), secret));

        var outbound = await _mesh.Near.Log.LineAsync("connection complete", "direction=\"outbound\"", $"dst.hbone_addr={At(_mesh.Server)}", $"bytes_sent={secret.Length} ");
        var inbound = await _mesh.Far.Log.LineAsync("connection complete", "direction=\"inbound\"", $"dst.hbone_addr={At(_mesh.Server)}", $"bytes_sent={secret.Length} ");
        Assert.Contains($"src.workload=\"client\" src.namespace=\"default\" src.identity=\"spiffe://cluster.local/ns/default/sa/client\" src.cluster=\"Kubernetes\" dst.addr={_mesh.Server.V4}:15008", outbound);
        Assert.Contains($"src.identity=\"spiffe://cluster.local/ns/default/sa/client\"", inbound);
        Assert.Contains($"bytes_sent={secret.Length} bytes_recv={secret.Length}", inbound);
        await _mesh.Near.MetricGrowsAsync("istio_tcp_connections_closed_total", "reporter=\"source\"", "destination_workload=\"server\"", "connection_security_policy=\"mutual_tls\"", "response_flags=\"-\"");
        await _mesh.Far.MetricGrowsAsync("istio_tcp_connections_opened_total", "reporter=\"destination\"", "source_principal=\"spiffe://cluster.local/ns/default/sa/client\"", "connection_security_policy=\"mutual_tls\"");

        var wire = capture.Stop();
        Assert.Equal(-1, wire.AsSpan().IndexOf(Encoding.ASCII.GetBytes(secret)));
        Assert.True(wire.AsSpan().IndexOf((byte[])[0x17, 0x03, 0x03]) >= 0, "no TLS record was seen: the capture proves nothing");
        Assert.Contains(_mesh.ServerApp.Peers, peer => peer.Address.Equals(_mesh.Client.V4));
    }

    [Theory, Scenario("L4-001", "L4-002", "L4-178")]
    [InlineData(true, false)]
    [InlineData(false, false)]
    [InlineData(false, true)]
    public async Task Each_end_counts_one_connection_under_mutual_tls_also_on_one_node(bool oneNode, bool nftables)
    {
        var solo = await _mesh.EnrollAsync($"solo-{oneNode}-{nftables}".ToLowerInvariant(), _mesh.Near, nftables: nftables);
        var (server, node) = oneNode ? (_mesh.Neighbour, _mesh.Near) : (_mesh.Server, _mesh.Far);
        Assert.Equal("ping", await PodClient.CallAsync(solo, At(server)));
        await _mesh.Near.Log.LineAsync("connection complete", $"src.addr={solo.V4}", "direction=\"outbound\"", $"dst.addr={server.V4}:15008");   // a tunnel also on one node
        foreach (var (at, reporter) in new[] { (_mesh.Near, "source"), (node, "destination") })
            foreach (var count in (string[])["opened", "closed"])
            {
                await at.MetricGrowsAsync($"istio_tcp_connections_{count}_total", $"reporter=\"{reporter}\"", $"source_workload=\"{solo.Name}\"");
                Assert.Equal(1, at.Metric($"istio_tcp_connections_{count}_total", $"reporter=\"{reporter}\"", $"source_workload=\"{solo.Name}\"", "connection_security_policy=\"mutual_tls\""));
                Assert.Equal(1, at.Metric($"istio_tcp_connections_{count}_total", $"reporter=\"{reporter}\"", $"source_workload=\"{solo.Name}\""));
            }
    }

    [Fact, Scenario("L4-177")]
    public async Task IPv6_goes_the_same_way()
    {
        Assert.Equal("ping", await PodClient.CallAsync(_mesh.Client, new IPEndPoint(_mesh.Server.V6, 8080)));
        await _mesh.Near.Log.LineAsync("connection complete", $"dst.addr=[{_mesh.Server.V6}]:15008", "direction=\"outbound\"");
        Assert.Contains(_mesh.ServerApp.Peers, peer => peer.Address.Equals(_mesh.Client.V6));
    }

    [Fact, Scenario("L4-003")]
    public async Task A_pod_outside_the_mesh_is_reached_in_plain_tcp()
    {
        Assert.Equal("ping", await PodClient.CallAsync(_mesh.Client, At(_mesh.Plain)));
        await _mesh.Near.MetricGrowsAsync("istio_tcp_connections_closed_total", "reporter=\"source\"", "destination_workload=\"plain\"", "connection_security_policy=\"unknown\"");
        foreach (var node in (TestNode[])[_mesh.Near, _mesh.Far]) Assert.Equal(0, node.Metric("istio_tcp_connections_opened_total", "reporter=\"destination\"", "destination_workload=\"plain\""));
    }

    [Fact, Scenario("L4-004")]
    public async Task A_pod_outside_the_mesh_is_served_and_seen_with_its_address()
    {
        Assert.Equal("ping", await PodClient.CallAsync(_mesh.Plain, At(_mesh.Server)));
        await _mesh.Far.MetricGrowsAsync("istio_tcp_connections_closed_total", "reporter=\"destination\"", "source_workload=\"plain\"", "source_principal=\"unknown\"", "connection_security_policy=\"unknown\"");
        Assert.Contains(_mesh.ServerApp.Peers, peer => peer.Address.Equals(_mesh.Plain.V4));
        foreach (var node in (TestNode[])[_mesh.Near, _mesh.Far]) Assert.Equal(0, node.Metric("istio_tcp_connections_opened_total", "reporter=\"source\"", "source_workload=\"plain\""));
    }

    [Fact, Scenario("L4-010")]
    public async Task A_link_local_metadata_service_sees_the_pod_itself()
    {
        var metadata = new IPEndPoint(IPAddress.Parse("169.254.169.254"), 8087);
        await PodNetwork.InAsync(_mesh.Stranger, "ip addr add 169.254.169.254/32 dev lo");
        await PodNetwork.InAsync(_mesh.Client, $"ip route add 169.254.169.254/32 via {_mesh.Stranger.V4}");
        var service = _mesh.Add(PodServer.Echo(_mesh.Stranger, metadata.Port));
        Assert.Equal("ping", await PodClient.CallAsync(_mesh.Client, metadata));
        Assert.Equal(_mesh.Client.V4, Assert.Single(service.Peers).Address);
    }

    [Fact, Scenario("L4-005")]
    public async Task An_unknown_address_is_passed_through_without_labels()
    {
        Assert.Equal("ping", await PodClient.CallAsync(_mesh.Client, At(_mesh.Stranger)));
        var line = await _mesh.Near.Log.LineAsync("connection complete", $"dst.addr={At(_mesh.Stranger)}", "direction=\"outbound\"");
        Assert.DoesNotContain("dst.workload", line);
    }

    [Fact, Scenario("L4-007")]
    public async Task An_application_on_loopback_only_is_not_reached()
    {
        _mesh.Add(PodServer.Echo(_mesh.Server, 8099, IPAddress.Loopback));
        Assert.True(await PodClient.FailsAsync(_mesh.Client, At(_mesh.Server, 8099)));
        await _mesh.Near.Log.LineAsync("connection complete", $"dst.hbone_addr={At(_mesh.Server, 8099)}", "error=\"http status: 503 Service Unavailable\"");
        await _mesh.Far.Log.LineAsync("connection complete", $"dst.hbone_addr={At(_mesh.Server, 8099)}", "error=\"connection failed: Connection refused (os error 111)\"");
    }

    [Fact, Scenario("L4-008")]
    public async Task A_pod_calling_its_own_address_is_left_alone()
    {
        var before = _mesh.ServerApp.Peers.Count;
        Assert.Equal("ping", await PodClient.CallAsync(_mesh.Server, At(_mesh.Server)));
        Assert.Contains(_mesh.ServerApp.Peers.Skip(before), peer => peer.Address.Equals(_mesh.Server.V4));
        Assert.DoesNotContain(_mesh.Far.Log.Lines, line => line.Contains($"src.addr={_mesh.Server.V4}:", StringComparison.Ordinal) && line.Contains("direction=\"outbound\"", StringComparison.Ordinal));
    }

    [Fact, Scenario("L4-011")]
    public async Task A_protocol_in_which_the_server_speaks_first_works()
    {
        _mesh.Add(PodServer.Start(_mesh.Server, 8021, IPAddress.IPv6Any, async stream => await stream.WriteAsync("220 ready"u8.ToArray(), CancellationToken.None)));
        using var client = await PodClient.ConnectAsync(_mesh.Client, At(_mesh.Server, 8021));
        using var reader = new StreamReader(client.GetStream());
        Assert.Equal("220 ready", await reader.ReadToEndAsync(Patience.Token));
    }

    [Fact, Scenario("L4-011")]
    public async Task The_applications_own_tls_passes_with_its_own_certificate()
    {
        using var certificate = new CertificateRequest("CN=own", ECDsa.Create(), HashAlgorithmName.SHA256).CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.MaxValue);
        _mesh.Add(PodServer.Start(_mesh.Server, 8443, IPAddress.IPv6Any, async stream =>
        {
            await using var tls = new SslStream(stream);
            await tls.AuthenticateAsServerAsync(certificate);
            await tls.WriteAsync("secret"u8.ToArray(), CancellationToken.None);
        }));
        using var client = await PodClient.ConnectAsync(_mesh.Client, At(_mesh.Server, 8443));
        await using var own = new SslStream(client.GetStream(), false, (_, presented, _, _) => presented is not null && presented.GetRawCertData().AsSpan().SequenceEqual(certificate.RawData));
        await own.AuthenticateAsClientAsync("own");
        using var reader = new StreamReader(own);
        Assert.Equal("secret", await reader.ReadToEndAsync(Patience.Token));
    }

    [Fact, Scenario("L4-011")]
    public async Task Datagrams_are_left_alone()
    {
        using var server = _mesh.Server.Namespace.Run(() => new UdpClient(new IPEndPoint(_mesh.Server.V4, 8053)));
        using var client = _mesh.Client.Namespace.Run(() => new UdpClient(new IPEndPoint(_mesh.Client.V4, 0)));
        await client.SendAsync("ping"u8.ToArray(), new IPEndPoint(_mesh.Server.V4, 8053), Patience.Token);
        var received = await server.ReceiveAsync(Patience.Token);
        Assert.Equal((_mesh.Client.V4, "ping"), (received.RemoteEndPoint.Address, Encoding.ASCII.GetString(received.Buffer)));
    }

    [Fact, Scenario("L4-012")]
    public async Task A_client_that_finished_gets_a_large_reply_whole()
    {
        var reply = new byte[8 << 20];
        Random.Shared.NextBytes(reply);
        _mesh.Add(PodServer.Start(_mesh.Server, 8022, IPAddress.IPv6Any, async served =>
        {
            await served.CopyToAsync(Stream.Null, CancellationToken.None);
            await served.WriteAsync(reply, CancellationToken.None);
        }));
        using var client = await PodClient.ConnectAsync(_mesh.Client, At(_mesh.Server, 8022));
        var stream = client.GetStream();
        await stream.WriteAsync("request"u8.ToArray(), Patience.Token);
        client.Client.Shutdown(SocketShutdown.Send);
        var received = new MemoryStream();
        await stream.CopyToAsync(received, Patience.Token);
        Assert.True(received.ToArray().AsSpan().SequenceEqual(reply));
    }

    [Fact, Scenario("L4-013")]
    public async Task Two_pods_do_not_share_a_tunnel()
    {
        await using var node = await TestNode.StartAsync("n6", _mesh.Plane);
        var server = await ServerAsync("shared", node);
        var clients = new[] { await _mesh.EnrollAsync("twin-a", _mesh.Near), await _mesh.EnrollAsync("twin-b", _mesh.Near) };
        foreach (var client in clients)
            for (var i = 0; i < 3; i++) Assert.Equal("ping", await PodClient.CallAsync(client, At(server)));
        Assert.Equal(2, node.Metric("istio_tcp_sockets_open", "destination"));
    }

    [Fact, Scenario("T-24")]
    public async Task The_tunnels_of_a_deleted_pod_go_with_it()
    {
        await using var node = await TestNode.StartAsync("n7", _mesh.Plane);
        var server = await ServerAsync("left", node);
        var leaver = await _mesh.EnrollAsync("leaver", _mesh.Near);
        Assert.Equal("ping", await PodClient.CallAsync(leaver, At(server)));
        Assert.Equal(1, node.Metric("istio_tcp_sockets_open", "destination"));   // kept for the next connection
        Assert.Equal("", await _mesh.Near.Agent.DeleteAsync(TestMesh.UidOf(leaver)));
        await Eventually.IsTrueAsync(() => node.Metric("istio_tcp_sockets_open", "destination") == 0, "the tunnel has ended");
    }

    [Fact, Scenario("L4-014")]
    public async Task More_than_a_hundred_connections_take_a_second_tunnel_and_none_is_refused()
    {
        await using var node = await TestNode.StartAsync("n8", _mesh.Plane);
        var (server, client) = (await ServerAsync("crowd", node), await _mesh.EnrollAsync("busy", _mesh.Near));
        var open = await Task.WhenAll(Enumerable.Range(0, 130).Select(async _ =>
        {
            var connection = await PodClient.ConnectAsync(client, At(server));
            await connection.GetStream().WriteAsync("x"u8.ToArray(), Patience.Token);
            Assert.Equal(1, await connection.GetStream().ReadAsync(new byte[1], Patience.Token));
            return connection;
        }));
        Assert.Equal(2, node.Metric("istio_tcp_sockets_open", "destination"));
        foreach (var connection in open) connection.Dispose();
    }

    [Fact, Scenario("L4-083", "L4-085")]
    public async Task The_proxys_own_ports_lead_nowhere()
    {
        foreach (var port in (int[])[15001, 15006, 15008])
        {
            foreach (var own in (IPAddress[])[IPAddress.Loopback, _mesh.Client.V4]) Assert.Equal("", await PodClient.AnswerAsync(_mesh.Client, new IPEndPoint(own, port)));   // accepted, then closed
            Assert.True(await PodClient.FailsAsync(_mesh.Plain, At(_mesh.Server, port)), $"from outside {port}");
        }
        foreach (var port in (int[])[15000, 15020, 15021, 15080])
            foreach (var own in (IPAddress[])[IPAddress.Loopback, _mesh.Client.V4])
                await Assert.ThrowsAsync<SocketException>(() => PodClient.CallAsync(_mesh.Client, new IPEndPoint(own, port)));
        await _mesh.Near.Log.LineAsync("connection failed", "dst.addr=127.0.0.1:15001", "direction=\"outbound\"", "error=\"attempted recursive call to ourselves\"");
        await _mesh.Far.Log.LineAsync("connection failed", $"dst.addr={_mesh.Server.V4}:15006", "direction=\"inbound\"", "error=\"attempted recursive call to ourselves\"");
    }
}
