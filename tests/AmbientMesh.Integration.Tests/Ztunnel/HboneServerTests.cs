using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using AmbientMesh.Hbone;
using AmbientMesh.Identity;
using AmbientMesh.Model;
using AmbientMesh.Protocol.Security;
using AmbientMesh.Ztunnel.Inbound;
using Google.Protobuf.WellKnownTypes;
using PolicyAction = AmbientMesh.Protocol.Security.Action;
using PolicyMessage = AmbientMesh.Protocol.Security.Authorization;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>What the HBONE port of a captured pod answers to peers, good and bad.</summary>
public sealed class HboneServerTests : IClassFixture<TestMesh>
{
    private readonly TestMesh _mesh;

    public HboneServerTests(TestMesh shared)
    {
        _mesh = shared;
        _mesh.BeginAnew();
    }

    private async Task<int> AskAsync(string authority, PodNamespace? at = null)
    {
        await using var tunnel = await HbonePeer.ConnectAsync(_mesh.Plane, _mesh.Plain, at ?? _mesh.Server);
        return await HbonePeer.AskAsync(tunnel, authority);
    }

    private async Task<string> RefusedHandshakeAsync(SslClientAuthenticationOptions options)
    {
        await using var tls = new SslStream(new NetworkStream(await HbonePeer.DialAsync(_mesh.Plain, TestMesh.At(_mesh.Server, 15008)), ownsSocket: true));
        options.RemoteCertificateValidationCallback = Anyone;
        options.ApplicationProtocols ??= [SslApplicationProtocol.Http2];
        var failure = await Assert.ThrowsAnyAsync<Exception>(async () =>
        {
            await tls.AuthenticateAsClientAsync(options, Patience.Token);
            await tls.WriteAsync("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8.ToArray(), Patience.Token);
            if (await tls.ReadAsync(new byte[1], Patience.Token) == 0) throw new IOException("closed");
        });
        return failure.ToString();
    }

    // The server's proof is not what these tests are about.
    private static bool Anyone(object sender, X509Certificate? certificate, X509Chain? chain, SslPolicyErrors errors) => certificate is not null;

    [Fact, Scenario("L4-070")]
    public async Task A_request_that_is_no_connect_is_answered_400()
    {
        var svid = _mesh.Plane.Authority.IssueSvid(HbonePeer.Default);
        using var client = new HttpClient(new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellation) => new NetworkStream(await HbonePeer.DialAsync(_mesh.Plain, TestMesh.At(_mesh.Server, 15008)), ownsSocket: true),
            SslOptions = new SslClientAuthenticationOptions { ClientCertificateContext = svid.CertificateContext, RemoteCertificateValidationCallback = Anyone },
        })
        { DefaultRequestVersion = HttpVersion.Version20, DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact };
        var answer = await client.GetAsync($"https://{_mesh.Server.V4}:15008/", Patience.Token);
        Assert.Equal(HttpStatusCode.BadRequest, answer.StatusCode);
        await _mesh.Far.Log.LineAsync("connection failed", "error=\"expected method CONNECT, got GET\"");
    }

    [Fact, Scenario("L4-071", "T-11")]
    public async Task Another_address_than_the_pods_is_answered_400()
    {
        foreach (var asked in (string[])[$"{_mesh.Neighbour.V4}:8080", "169.254.169.254:80", "127.0.0.1:8080", "[::1]:8080"]) Assert.Equal(400, await AskAsync(asked));
        await _mesh.Far.Log.LineAsync("connection failed", "direction=\"inbound\"", $"error=\"ip mismatch: {_mesh.Server.V4} != {_mesh.Neighbour.V4}\"");
    }

    [Fact, Scenario("L4-072", "L4-073", "L4-074")]
    public async Task A_hostname_is_resolved_with_the_services_ports()
    {
        _mesh.Plane.Put(new Wds.Service { Name = "echo", Namespace = "default", Hostname = "echo.default.svc.cluster.local", Ports = { new Wds.Port { ServicePort = 80, TargetPort = 8080 }, new Wds.Port { ServicePort = 81 }, new Wds.Port { ServicePort = 82 } } });
        _mesh.Plane.Put(TestMesh.WorkloadOf(_mesh.Server, "n2", hbone: true, w => w.Services["default/echo.default.svc.cluster.local"] = new Wds.PortList { Ports = { new Wds.Port { ServicePort = 81, TargetPort = 8080 } } }));
        await Patience.Within(_mesh.Far.App.Mesh.WhenAsync(m => m.FindWorkload("Kubernetes//Pod/default/server") is { Services.Length: 1 } w ? w : null, Patience.Token).AsTask());
        await Patience.Within(_mesh.Far.App.Mesh.WhenAsync(m => m.FindService(new ServiceName("default", "echo.default.svc.cluster.local")), Patience.Token).AsTask());
        Assert.Equal(200, await AskAsync("echo.default.svc.cluster.local:80"));
        Assert.Equal(200, await AskAsync("echo.default.svc.cluster.local:81"));
        Assert.Equal(503, await AskAsync("echo.default.svc.cluster.local:82"));
        Assert.Equal(503, await AskAsync("nosuch.default.svc.cluster.local:80"));
        await _mesh.Far.Log.LineAsync("error=\"no service or workload for hostname: nosuch.default.svc.cluster.local\"");
        await _mesh.Far.Log.LineAsync("error=\"requested service echo.default.svc.cluster.local:82 found, but cannot resolve port\"");
    }

    [Theory, Scenario("L4-075", "T-12")]
    [InlineData(15001)]
    [InlineData(15006)]
    [InlineData(15008)]
    [InlineData(15053)]
    [InlineData(15080)]
    public async Task The_proxys_own_ports_are_answered_503(int port)
    {
        Assert.Equal(503, await AskAsync($"{_mesh.Server.V4}:{port}"));
        await _mesh.Far.MetricGrowsAsync("ambientmesh_connections_refused_total", "reporter=\"destination\"", "reason=\"self-call\"");
    }

    [Fact, Scenario("L4-076")]
    public async Task A_port_without_a_listener_is_answered_503_and_counted_as_failed()
    {
        Assert.Equal(503, await AskAsync($"{_mesh.Server.V4}:9"));
        await _mesh.Far.MetricGrowsAsync("istio_tcp_connections_failed_total", "reporter=\"destination\"", "response_flags=\"CONNECT\"", "source_principal=\"spiffe://cluster.local/ns/default/sa/plain\"");
    }

    [Fact, Scenario("L4-077")]
    public async Task A_client_of_another_trust_domain_is_refused_in_the_handshake()
    {
        var foreign = _mesh.Plane.Authority.IssueSvid(new SpiffeId("other.domain", "default", "plain"));
        Assert.NotEmpty(await RefusedHandshakeAsync(new SslClientAuthenticationOptions { ClientCertificateContext = foreign.CertificateContext }));
        await _mesh.Far.Log.LineAsync("connection failed", "tls handshake error", "other.domain");
    }

    [Fact, Scenario("L4-078")]
    public async Task A_client_without_a_certificate_is_refused_in_the_handshake()
    {
        Assert.NotEmpty(await RefusedHandshakeAsync(new SslClientAuthenticationOptions()));
        await _mesh.Far.Log.LineAsync("connection failed", "tls handshake error", "no certificate");
    }

    [Fact]
    public async Task A_client_of_another_authority_is_refused_in_the_handshake()
    {
        var other = CertificateAuthority.CreateSelfSigned("cluster.local", TimeProvider.System).IssueSvid(HbonePeer.Default);
        Assert.NotEmpty(await RefusedHandshakeAsync(new SslClientAuthenticationOptions { ClientCertificateContext = other.CertificateContext }));
        await _mesh.Far.Log.LineAsync("connection failed", "tls handshake error", "does not chain to the trust bundle");
    }

    [Fact]
    public async Task Tls_1_2_is_refused()
    {
        var svid = _mesh.Plane.Authority.IssueSvid(HbonePeer.Default);
        Assert.Contains("protocol version", await RefusedHandshakeAsync(new SslClientAuthenticationOptions { ClientCertificateContext = svid.CertificateContext, EnabledSslProtocols = SslProtocols.Tls12 }), StringComparison.OrdinalIgnoreCase);
    }

    [Fact, Scenario("L4-079", "T-14")]
    public async Task Bytes_that_are_no_tls_are_refused_before_any_policy()
    {
        using var client = await PodClient.ConnectAsync(_mesh.Plain, TestMesh.At(_mesh.Server, 15008));
        var stream = client.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes("GET / HTTP/1.1\r\n\r\n"), Patience.Token);
        var answer = new byte[1024];
        var count = await stream.ReadAsync(answer, Patience.Token);
        Assert.True(count is 0 or 7, $"{count} bytes");   // nothing, or a TLS alert
        await _mesh.Far.Log.LineAsync("connection failed", $"src.addr={_mesh.Plain.V4}", "tls handshake error");
    }

    [Fact, Scenario("L4-080")]
    public async Task A_server_that_is_not_who_it_must_be_gets_no_byte()
    {
        // Discovery says "liar" is at the address of a pod whose proxy proves to be "honest".
        var honest = await _mesh.EnrollAsync("honest", _mesh.Far);
        _mesh.Add(PodServer.Echo(honest, 8080));
        _mesh.Plane.Put(TestMesh.WorkloadOf(honest, "n2", hbone: true));
        Assert.Equal("ping", await PodClient.CallAsync(_mesh.Client, TestMesh.At(honest, 8080)));
        _mesh.Plane.RemoveAddress("Kubernetes//Pod/default/honest");
        _mesh.Plane.Put(TestMesh.WorkloadOf(honest, "n3", hbone: true, w => { w.Uid = "Kubernetes//Pod/default/liar"; w.Name = w.ServiceAccount = w.WorkloadName = "liar"; }));
        await Patience.Within(_mesh.Near.App.Mesh.WhenAsync(m => m.FindWorkload("Kubernetes//Pod/default/liar"), Patience.Token).AsTask());
        Assert.True(await PodClient.FailsAsync(_mesh.Client, TestMesh.At(honest, 8080)));
        await _mesh.Near.MetricGrowsAsync("istio_tcp_connections_failed_total", "reporter=\"source\"", "destination_workload=\"liar\"", "response_flags=\"CONNECT\"");
    }

    [Fact, Scenario("L4-091", "L4-092", "L4-103")]
    public async Task A_policy_that_comes_later_closes_what_it_denies_and_nothing_else()
    {
        var guarded = await _mesh.EnrollAsync("guarded", _mesh.Far, w => w.AuthorizationPolicies.Add("default/no-client"));
        _mesh.Add(PodServer.Echo(guarded, 8080));
        using var denied = await PodClient.ConnectAsync(_mesh.Client, TestMesh.At(guarded, 8080));
        using var allowed = await PodClient.ConnectAsync(_mesh.Neighbour, TestMesh.At(guarded, 8080));
        await PingAsync(denied);
        await PingAsync(allowed);

        var byClient = new Match { Principals = { new StringMatch { Exact = "cluster.local/ns/default/sa/client" } } };
        _mesh.Plane.Put(new PolicyMessage { Name = "no-client", Namespace = "default", Action = PolicyAction.Deny, Scope = Scope.WorkloadSelector, Rules = { new Rule { Clauses = { new Clause { Matches = { byClient } } } } } });
        Assert.Contains("reason=\"policy-changed\" decided_by=\"AuthorizationPolicy default/no-client rule 0\"",
            await _mesh.Far.Log.LineAsync("connection complete", "dst.workload=\"guarded\"", "error=\"connection closed due to policy change\""));
        Assert.True(await IsEndedAsync(denied));
        await PingAsync(allowed);
        Assert.True(await PodClient.FailsAsync(_mesh.Client, TestMesh.At(guarded, 8080)));
        // Both ends know the connection by one id, the policy is named where it is enforced.
        var denied401 = await _mesh.Near.Log.LineAsync("connection complete", "dst.workload=\"guarded\"", "error=\"http status: 401 Unauthorized\"");
        Assert.Contains("reason=\"denied-by-peer\" decided_by=\"Workload default/guarded reason policy-denied\"", denied401);
        var id = System.Text.RegularExpressions.Regex.Match(denied401, "connection\\.id=\"([0-9a-f]{32})\"").Groups[1].Value;
        Assert.Contains("reason=\"policy-denied\" decided_by=\"AuthorizationPolicy default/no-client rule 0\"", await _mesh.Far.Log.LineAsync("connection complete", $"connection.id=\"{id}\""));
        _mesh.Plane.RemovePolicy("default/no-client");
    }

    [Fact, Scenario("L4-107", "L4-108")]
    public async Task A_dry_run_is_only_told_and_a_missing_policy_is_warned_about()
    {
        var byAll = new Match { Principals = { new StringMatch { Presence = new Empty() } } };
        _mesh.Plane.Put(new PolicyMessage { Name = "rehearsal", Namespace = "default", Action = PolicyAction.Deny, Scope = Scope.WorkloadSelector, DryRun = true, Rules = { new Rule { Clauses = { new Clause { Matches = { byAll } } } } } });
        await Patience.Within(_mesh.Far.App.Mesh.WhenAsync(m => m.FindPolicy(new PolicyName("default", "rehearsal")), Patience.Token).AsTask());
        var stage = await _mesh.EnrollAsync("stage", _mesh.Far, w => w.AuthorizationPolicies.AddRange(["default/rehearsal", "default/lost"]));
        _mesh.Add(PodServer.Echo(stage, 8080));
        Assert.Equal("ping", await PodClient.CallAsync(_mesh.Client, TestMesh.At(stage, 8080)));
        await _mesh.Far.Log.LineAsync("dry run", "policy=default/rehearsal", "action=\"deny\"", "outcome=\"matches\"", "src.identity=\"spiffe://cluster.local/ns/default/sa/client\"");
        await _mesh.Far.Log.LineAsync("policy default/lost of workload", "is not known");
    }

    [Fact, Scenario("L4-095", "L4-098", "T-14")]
    public async Task A_strict_workload_refuses_plain_tcp_and_serves_mutual_tls()
    {
        var unauthenticated = new Match { NotPrincipals = { new StringMatch { Presence = new Empty() } } };
        _mesh.Plane.Put(new PolicyMessage { Name = "istio_converted_static_strict", Namespace = "istio-system", Action = PolicyAction.Deny, Scope = Scope.WorkloadSelector, Rules = { new Rule { Clauses = { new Clause { Matches = { unauthenticated } } } } } });
        await Patience.Within(_mesh.Far.App.Mesh.WhenAsync(m => m.FindPolicy(new PolicyName("istio-system", "istio_converted_static_strict")), Patience.Token).AsTask());
        var strict = await _mesh.EnrollAsync("strict", _mesh.Far, w => w.AuthorizationPolicies.Add("istio-system/istio_converted_static_strict"));
        _mesh.Add(PodServer.Echo(strict, 8080));
        Assert.Equal("ping", await PodClient.CallAsync(_mesh.Client, TestMesh.At(strict, 8080)));
        Assert.True(await PodClient.FailsAsync(_mesh.Plain, TestMesh.At(strict, 8080)));
        await _mesh.Far.Log.LineAsync("connection complete", "dst.workload=\"strict\"", "error=\"connection closed due to policy rejection: explicitly denied by: istio-system/istio_converted_static_strict\"");
    }

    [Fact, Scenario("T-15")]
    public async Task What_a_peer_says_of_itself_and_of_the_source_is_believed_only_as_far_as_its_certificate()
    {
        // From an address the mesh does not know, with a certificate for default/plain, claiming to be payments/billing at 10.9.9.9.
        await using var tunnel = await HbonePeer.ConnectAsync(_mesh.Plane, _mesh.Stranger, _mesh.Server);
        Assert.True(HboneAuthority.TryParse($"{_mesh.Server.V4}:8080", out var authority));
        var outcome = await tunnel.ConnectAsync(authority,
        [
            new("baggage", "k8s.cluster.name=c,k8s.namespace.name=payments,k8s.deployment.name=billing,service.name=billing"),
            new("forwarded", "for=\"10.9.9.9:1\";host=elsewhere.example"),
            new("x-forwarded-network", "faraway"),
            new("x-forwarded-client-cert", "URI=spiffe://cluster.local/ns/payments/sa/billing"),
        ], Patience.Token);
        await Assert.IsType<ConnectOutcome.Established>(outcome).Stream.DisposeAsync();
        await _mesh.Far.MetricGrowsAsync("istio_tcp_connections_opened_total", "source_principal=\"spiffe://cluster.local/ns/default/sa/plain\"", "source_workload_namespace=\"default\"", "source_workload=\"unknown\"");
        Assert.Equal(0, _mesh.Far.Metric("istio_tcp_connections_opened_total", "billing"));
        await _mesh.Far.Log.LineAsync("connection complete", $"src.addr={_mesh.Stranger.V4}", "src.identity=\"spiffe://cluster.local/ns/default/sa/plain\"");
    }

    [Fact, Scenario("T-24")]
    public async Task A_namespace_that_is_not_the_named_pods_gets_no_identity()
    {
        // The agent pairs this pod's namespace with a name whose workload has other addresses.
        var misfit = await _mesh.EnrollAsync("misfit", _mesh.Far, w => { w.Addresses.Clear(); w.Addresses.Add(Google.Protobuf.ByteString.CopyFrom(10, 9, 9, 9)); });
        _mesh.Add(PodServer.Echo(misfit, 8080));
        Assert.True(await PodClient.FailsAsync(misfit, TestMesh.At(_mesh.Server, 8080)));
        Assert.True(await PodClient.FailsAsync(_mesh.Plain, TestMesh.At(misfit, 8080)));
        await _mesh.Far.Log.LineAsync("has none of the workload's addresses 10.9.9.9");
        _mesh.Plane.Put(TestMesh.WorkloadOf(misfit, "n2", hbone: true));   // discovery caught up: it was the pod after all
        await Patience.Within(_mesh.Far.App.Mesh.WhenAsync(m => m.FindWorkload(new NetworkAddress("", misfit.V4)), Patience.Token).AsTask());
        Assert.Equal("ping", await PodClient.CallAsync(_mesh.Plain, TestMesh.At(misfit, 8080)));
    }

    [Fact, Scenario("T-09")]
    public async Task Half_open_handshakes_of_one_client_do_not_keep_others_out()
    {
        // By this node's clock no handshake takes too long, however slowly they begin.
        await using var node = await TestNode.StartAsync("n6", _mesh.Plane, clock: new HeldClock(HboneProxy.HandshakeTimeout));
        var besieged = await _mesh.EnrollAsync("besieged", node);
        using var app = PodServer.Echo(besieged, 8080);
        var held = new List<TcpClient>();
        try
        {
            for (var i = 0; i < 140; i++) held.Add(await PodClient.ConnectAsync(_mesh.Stranger, TestMesh.At(besieged, 15008)));
            await node.Log.LineAsync("connection failed", "reason=\"limit-reached\"", $"too many handshakes from {_mesh.Stranger.V4}");
            Assert.Equal(200, await AskAsync($"{besieged.V4}:8080", besieged));
        }
        finally
        {
            foreach (var connection in held) connection.Dispose();
        }
    }

    private static async Task PingAsync(TcpClient client)
    {
        await client.GetStream().WriteAsync("x"u8.ToArray(), Patience.Token);
        Assert.Equal(1, await client.GetStream().ReadAsync(new byte[1], Patience.Token));
    }

    private static async Task<bool> IsEndedAsync(TcpClient client)
    {
        try
        {
            return await client.GetStream().ReadAsync(new byte[1], Patience.Token) == 0;
        }
        catch (IOException)
        {
            return true;
        }
    }
}
