using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using AmbientMesh.Hbone;
using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Model.Tests;
using AmbientMesh.Telemetry;
using AmbientMesh.Telemetry.Otlp;
using AmbientMesh.Ztunnel.Admin;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.Reporting;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Tests;

/// <summary>Every reason of the closed set has a cause, and is shown alike in log, metric and admin page.</summary>
public sealed class ReasonTests
{
    private static readonly MeshBuilder Mesh = new MeshBuilder().Pod("client", "10.98.0.1").Pod("server", "10.98.0.2").Service("server", "10.198.0.2");
    private static readonly IPEndPoint Here = IPEndPoint.Parse("10.98.0.1:40000");
    private static readonly IPEndPoint There = IPEndPoint.Parse("10.98.0.2:8080");
    private static readonly Workload Server = Mesh.Find("server");
    private static readonly Decider ServerPod = Decider.Of(Server);

    /// <summary>One cause for each reason. Those that arise only where sockets and tunnels are real are also provoked in the integration tests named.</summary>
    private static CloseReason Cause(Reason reason) => reason switch
    {
        Reason.SelfCall => CloseReason.SelfCall(There),
        Reason.UnknownSource => CloseReason.LocalWorkloadUnknown(new WorkloadInfo("p", "ns", "sa")),
        Reason.UnknownWaypoint => CloseReason.UnknownWaypoint("ns/wp", ServerPod),
        Reason.UnknownGateway => CloseReason.UnknownNetworkGateway("10.0.0.1", Server),
        Reason.NoRoute => CloseReason.NoRoute(Server),
        Reason.RemoteNetwork => CloseReason.RemoteNetwork(Server),
        Reason.NoHealthyUpstream => CloseReason.NoHealthyUpstream(There, Mesh.FindService("server")),
        Reason.NoAddress => CloseReason.NoAddress(Server),
        Reason.NameUnresolved => CloseReason.NameUnresolved(Server, "db.example", "NXDOMAIN"),
        Reason.ConnectRefused => CloseReason.PeerUnreachable(new SocketException((int)SocketError.ConnectionRefused), There),
        Reason.ConnectTimeout => CloseReason.ApplicationUnreachable(new IOException("", new SocketException((int)SocketError.TimedOut)), There),
        Reason.HboneTimeout => CloseReason.HboneTimeout,
        Reason.Unreachable => CloseReason.PeerUnreachable(new SocketException((int)SocketError.NetworkUnreachable), There),
        Reason.ConnectFailed => CloseReason.PeerUnreachable(new IOException("gone"), There),
        Reason.NoDescriptors => CloseReason.ApplicationUnreachable(new SocketException((int)SocketError.TooManyOpenSockets), There),
        Reason.IdentityUnavailable => CloseReason.IdentityUnavailable("the CA is away", ServerPod),
        Reason.PeerNotTrusted => CloseReason.PeerNotTrusted("invalid peer certificate: x", ServerPod),
        Reason.CertificateRevoked => CloseReason.CertificateRevoked(Server.Identity),
        Reason.TlsHandshake => CloseReason.TlsHandshake("no TLS"),
        Reason.Http2Error => CloseReason.Http2("no preface"),
        Reason.StreamRefused => CloseReason.TunnelFailed("the peer is going away", Reason.StreamRefused),
        Reason.TunnelFailed => CloseReason.TunnelFailed("gone"),
        Reason.DeniedByPeer => CloseReason.HttpStatus(401, ServerPod, Reason.PolicyDenied),
        Reason.RefusedByPeer => CloseReason.HttpStatus(503, ServerPod),
        Reason.BadRequest => CloseReason.BadRequest("expected method CONNECT, got GET"),
        Reason.AddressMismatch => CloseReason.AddressMismatch(Here.Address, There.Address),
        Reason.UnknownHostname => CloseReason.UnknownHostname("x.example"),
        Reason.UnresolvedPort => CloseReason.UnresolvedPort(Mesh.FindService("server")!, "server", 81),
        Reason.PolicyDenied => CloseReason.Policy(new AuthorizationVerdict.DeniedBy(new PolicyName("ns", "deny")), Decider.Of(new PolicyName("ns", "deny"), 0)),
        Reason.PolicyNotAllowed => CloseReason.Policy(new AuthorizationVerdict.NotAllowed(), null),
        Reason.PolicyChanged => CloseReason.PolicyChange(Decider.Of(new PolicyName("ns", "deny"))),
        Reason.Drain => CloseReason.Drain,
        Reason.DrainTimeout => CloseReason.DrainTimeout,
        Reason.StreamReset => Ended(RelayEnd.SecondReset, new StreamResetException(Hbone.Http2.ErrorCode.Cancel, byPeer: true)),
        Reason.TunnelLost => Ended(RelayEnd.SecondReset, new TunnelLostException("no answer to a PING")),
        Reason.TransferFailed => Ended(RelayEnd.FirstReset, new IOException("bad record")),
        Reason.LimitReached => CloseReason.ApplicationUnreachable(new SocketException((int)SocketError.NoBufferSpaceAvailable), There),
        Reason.InternalError => CloseReason.Internal(new InvalidOperationException("a fault")),
        _ => throw new InvalidOperationException($"{reason} has no cause: name one here"),
    };

    private static CloseReason Ended(RelayEnd end, Exception error)
    {
        using var connection = new ConnectionTable(default).Begin();
        return RelayEnding.ReasonOf(new RelayResult(end, 0, 0, error), connection, Direction.Outbound)!;
    }

    public static TheoryData<Reason> Every => [.. Reasons.All];

    [Theory]
    [MemberData(nameof(Every))]
    public async Task A_reason_is_the_same_word_in_log_metric_and_page(Reason reason)
    {
        var cause = Cause(reason);
        Assert.Equal(reason, cause.Reason);
        Assert.Equal(reason, Reasons.Parse(reason.Word()));
        Assert.Matches("^[a-z0-9]+(-[a-z0-9]+)*$", reason.Word());
        var registry = new MetricRegistry();
        var (log, page) = await ReportedAsync(registry, cause);
        Assert.Contains($" reason=\"{reason.Word()}\"", log);
        Assert.Contains($"ambientmesh_connections_refused_total{{reporter=\"source\",reason=\"{reason.Word()}\"}} 1", MetricExposition.Write(registry).Split('\n'));
        Assert.Equal(reason.Word(), page["reason"]!.GetValue<string>());
        Assert.Equal(cause.Text, page["error"]!.GetValue<string>());
        Assert.Contains($" connection.id=\"{page["id"]!.GetValue<string>()}\"", log);
        Assert.Equal(cause.DecidedBy?.Kind, page["decidedBy"]?["kind"]?.GetValue<string>());
        if (cause.DecidedBy is { } decider) Assert.Contains($" decided_by=\"{decider}\"", log);
    }

    [Fact]
    public void An_outbound_end_counts_under_the_flag_of_the_reference()
    {
        // L4 reference §11.2: refused by status, failed handshake, refused TCP and reset streams are all CONNECT.
        foreach (var reason in (Reason[])[Reason.DeniedByPeer, Reason.RefusedByPeer, Reason.PeerNotTrusted, Reason.ConnectRefused, Reason.StreamReset, Reason.TunnelFailed])
            Assert.Equal("CONNECT", Cause(reason).ResponseFlags);
        Assert.Equal("CONNECT", CloseReason.PeerHandshake("x").ResponseFlags);
        Assert.Equal("CONNECT", CloseReason.PeerRevoked("x").ResponseFlags);
        Assert.Equal("CERT_REVOKED", Cause(Reason.CertificateRevoked).ResponseFlags);
        Assert.Equal("NETWORK_POLICY", Cause(Reason.HboneTimeout).ResponseFlags);
        Assert.Equal("IDENTITY_ERROR", Cause(Reason.IdentityUnavailable).ResponseFlags);
        foreach (var reason in (Reason[])[Reason.PolicyDenied, Reason.PolicyNotAllowed, Reason.PolicyChanged]) Assert.Equal("DENY", Cause(reason).ResponseFlags);
    }

    [Fact]
    public void Telling_of_a_connection_allocates_little_and_keeps_little()
    {
        var reports = new ConnectionReports(new TcpMetrics(new MetricRegistry()), new AccessLog(Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance), new FakeTimeProvider());
        var table = new ConnectionTable(new WorkloadInfo("client", "default", "client"), reports.NewTrace);
        var client = PeerLabels.Of(Mesh.Find("client"));
        var server = PeerLabels.Of(Server);
        Cycle(5000);   // the rings and the series are there now
        var before = GC.GetAllocatedBytesForCurrentThread();
        Cycle(1000);
        Assert.InRange((GC.GetAllocatedBytesForCurrentThread() - before) / 1000, 0, 1280);

        void Cycle(int connections)
        {
            for (var i = 0; i < connections; i++)
            {
                using var connection = table.Begin();
                _ = connection.Trace.Header;
                reports.Opened(connection, new ConnectionDescription { Direction = Direction.Outbound, Source = Here, Destination = There, SourcePeer = client, DestinationPeer = server, HboneTarget = "x" }).Close(null, 1, 2);
            }
        }
    }

    [Fact]
    public void A_sampled_connection_is_a_span_of_its_workload_below_the_peers_and_others_are_none()
    {
        var spans = new List<Span>();
        var settings = new OtlpSettings { Sampling = TraceSampling.Parse("parentbased_always_off", null)!, Resource = [new("team", "a"), new("service.name", "proxy")] };
        var reports = new ConnectionReports(new TcpMetrics(new MetricRegistry()), new AccessLog(Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance), new FakeTimeProvider(), new ConnectionSpans(settings, spans.Add));
        var table = new ConnectionTable(new WorkloadInfo("server", "default", "server"), reports.NewTrace);
        using var unsampled = table.Begin();
        reports.Failed(unsampled, Direction.Inbound, Here, There, CloseReason.Drain);
        Assert.Empty(spans);

        using var sampled = table.Begin();
        sampled.Trace = reports.Continue(TraceContext.Below("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")!.Value);
        var description = new ConnectionDescription
        {
            Direction = Direction.Inbound,
            Source = Here,
            Destination = There,
            HboneTarget = "10.98.0.2:80",
            Service = Mesh.FindService("server"),
            SourcePeer = PeerLabels.Of(Mesh.Find("client")),
            DestinationPeer = PeerLabels.Of(Server),
            SourceIdentity = Mesh.Find("client").Identity,
        };
        reports.Opened(sampled, description).Close(CloseReason.PolicyChange(Decider.Of(new PolicyName("ns", "deny"), 1)), received: 5, sent: 7);
        var span = Assert.Single(spans);
        Assert.Equal(("accept server", SpanKind.Server, 0xb7ad6b7169203331, sampled.Trace.SpanId), (span.Name, span.Kind, span.Context.ParentSpanId, span.Context.SpanId));
        Assert.Equal("connection closed due to policy change", span.Error);
        var resource = span.Resource.Attributes.ToDictionary();
        Assert.Equal(("server", "default", "server", "a"), (resource["service.name"], resource["k8s.namespace.name"], resource["k8s.pod.name"], resource["team"]));
        var attributes = span.Attributes.ToDictionary();
        Assert.Equal(("policy-changed", "AuthorizationPolicy ns/deny rule 1", "mutual_tls", 5L, 7L),
            (attributes["error.type"], attributes["ambientmesh.decided_by"], attributes["ambientmesh.connection.security"], attributes["ambientmesh.bytes_received"], attributes["ambientmesh.bytes_sent"]));
    }

    [Fact]
    public void Finished_connections_do_not_push_refused_ones_out()
    {
        var ended = new EndedConnections(refused: 2, finished: 3);
        for (var i = 1; i <= 9; i++) ended.Add(End(i, i is 1 or 2 or 3 ? CloseReason.Drain : null));
        Assert.Equal([9, 8, 7, 3, 2], ended.Newest(10).Select(c => (int)c.Trace.TraceId));
        Assert.Equal([9, 8], ended.Newest(2).Select(c => (int)c.Trace.TraceId));
        Assert.Equal([3, 2], ended.Newest(10, c => c.Reason is not null).Select(c => (int)c.Trace.TraceId));
        Assert.Single(ended.Find(8));
        Assert.Empty(ended.Find(1));
    }

    [Theory]
    [InlineData("id=xyz", "id:")]
    [InlineData("state=closed", "state:")]
    [InlineData("reason=because", "reason:")]
    [InlineData("limit=0", "limit:")]
    [InlineData("limit=-1", "limit:")]
    public void A_question_that_cannot_be_answered_names_its_parameter(string query, string start)
    {
        var answer = new ConnectionsPage(() => [], new EndedConnections(), TimeProvider.System).Answer(Ask(query));
        Assert.Equal(400, answer.Status);
        Assert.StartsWith(start, Encoding.UTF8.GetString(answer.Body.Span));
    }

    [Fact]
    public void A_policy_is_named_as_the_object_the_user_wrote()
    {
        Assert.Equal("AuthorizationPolicy ns/a rule 2", Decider.Of(new PolicyName("ns", "a"), 2).ToString());
        Assert.Equal("PeerAuthentication ns/strict rule 0", Decider.Of(new PolicyName("ns", "converted_peer_authentication_strict"), 0).ToString());
        Assert.Equal("PeerAuthentication istio-system mode STRICT", Decider.Of(new PolicyName("istio-system", "istio_converted_static_strict"), 0).ToString());
    }

    private static EndedConnection End(int id, CloseReason? reason) => new()
    {
        Trace = new TraceContext((UInt128)id, 1),
        Pod = new WorkloadInfo("p", "ns", "sa"),
        Description = new ConnectionDescription { Direction = Direction.Outbound, Source = Here, Destination = There },
        OpenedAt = DateTimeOffset.UnixEpoch.AddSeconds(id),
        Reason = reason,
    };

    private static HttpEndpointRequest Ask(string query) => new("GET", "/debug/connections", query, new Dictionary<string, string>(), default);

    private static async Task<(string Log, JsonNode Page)> ReportedAsync(MetricRegistry registry, CloseReason reason)
    {
        var clock = new FakeTimeProvider();
        var output = new MemoryStream();
        JsonNode page;
        await using (var provider = new MeshLoggerProvider(output, LogLayout.Plain, LogFilter.Parse("info"), clock))
        {
            using var loggers = LoggerFactory.Create(builder => builder.SetMinimumLevel(LogLevel.Trace).AddProvider(provider));
            var reports = new ConnectionReports(new TcpMetrics(registry), new AccessLog(loggers), clock);
            using var connection = new ConnectionTable(new WorkloadInfo("client", "default", "client")).Begin();
            reports.Failed(connection, Direction.Outbound, Here, There, reason);
            var answer = new ConnectionsPage(() => [], reports.Ended, clock).Answer(Ask($"id={connection.Trace.Id}&state=ended&reason={reason.Reason.Word()}"));
            page = Assert.Single(JsonNode.Parse(answer.Body.Span)!["connections"]!.AsArray())!;
        }
        return (Encoding.UTF8.GetString(output.ToArray()), page);
    }
}
