using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Model.Tests;
using AmbientMesh.Telemetry;
using AmbientMesh.Telemetry.Coverage;
using AmbientMesh.Ztunnel.Admin;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.Reporting;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Tests;

/// <summary>Access log lines and TCP metrics beside those a Rust ztunnel wrote for the same connections.</summary>
public sealed class AccessLogTests
{
    private static readonly MeshBuilder Mesh = new MeshBuilder().Pod("client", "10.98.0.1").Pod("server", "10.98.0.2").Pod("plain", "10.98.0.3").Service("server", "10.198.0.2");

    private static readonly TraceContext Trace = TraceContext.Below("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")!.Value;

    private static ConnectionDescription Describe(Direction direction, string source, string? sourcePod, string destination, string? destinationPod, string? hbone = null, string? service = null) => new()
    {
        Direction = direction,
        Source = IPEndPoint.Parse(source),
        SourcePeer = sourcePod is null ? null : PeerLabels.Of(Mesh.Find(sourcePod)),
        SourceIdentity = hbone is null || sourcePod is null ? null : Mesh.Find(sourcePod).Identity,
        Destination = IPEndPoint.Parse(destination),
        DestinationPeer = destinationPod is null ? null : PeerLabels.Of(Mesh.Find(destinationPod)),
        DestinationIdentity = destinationPod is null ? null : Mesh.Find(destinationPod).Identity,
        HboneTarget = hbone,
        Service = service is null ? null : Mesh.FindService(service),
    };

    private static async Task<string> WrittenAsync(Action<AccessLog> write)
    {
        var output = new MemoryStream();
        await using (var provider = new MeshLoggerProvider(output, LogLayout.Plain, LogFilter.Parse("info"), new FakeTimeProvider()))
        {
            using var loggers = LoggerFactory.Create(builder => builder.SetMinimumLevel(LogLevel.Trace).AddProvider(provider));
            write(new AccessLog(loggers));
        }
        var line = Encoding.UTF8.GetString(output.ToArray());
        return line[(line.IndexOf('\t') + 1)..].TrimEnd('\n');
    }

    /// <summary>As <see cref="WrittenAsync"/>, without the fields that only we write.</summary>
    private static async Task<string> ComparableAsync(Action<AccessLog> write) => Regex.Replace(await WrittenAsync(write), " (connection\\.id|reason|decided_by)=\"[^\"]*\"", "");

    /// <summary>The n-th recorded line of a case, without its time.</summary>
    private static string Recorded(string title, int line = 0, string file = "access-log-text.txt")
    {
        var lines = Samples.Text($"samples/ztunnel/telemetry/{file}").Split("### " + title + "\n")[1].Split('\n').Where(l => l.Contains("\taccess\t")).ToArray();
        return lines[line][(lines[line].IndexOf('\t') + 1)..];
    }

    [Fact]
    public async Task A_tunnelled_connection_reads_as_recorded_at_both_ends()
    {
        const string title = "outbound HBONE + inbound HBONE by service VIP";
        Assert.Equal(Recorded(title, 0), await ComparableAsync(log => log.Complete(Describe(Direction.Inbound, "10.98.0.1:41540", "client", "10.98.0.2:15008", "server", "10.98.0.2:8080", "server"), Trace, 4, 4, TimeSpan.Zero, null)));
        Assert.Equal(Recorded(title, 1), await ComparableAsync(log => log.Complete(Describe(Direction.Outbound, "10.98.0.1:46388", "client", "10.98.0.2:15008", "server", "10.98.0.2:8080", "server"), Trace, 4, 4, TimeSpan.Zero, null)));
    }

    [Fact]
    public async Task Plain_connections_read_as_recorded()
    {
        Assert.Equal(Recorded("plaintext inbound from known uncaptured workload"),
            await ComparableAsync(log => log.Complete(Describe(Direction.Inbound, "10.98.0.3:44073", "plain", "10.98.0.2:8080", "server", service: "server"), Trace, 4, 4, TimeSpan.Zero, null)));
        Assert.Equal(Recorded("plaintext inbound from unknown address"),
            await ComparableAsync(log => log.Complete(Describe(Direction.Inbound, "10.98.0.6:53685", null, "10.98.0.2:8080", "server", service: "server"), Trace, 4, 4, TimeSpan.Zero, null)));
        Assert.Equal(Recorded("passthrough to unknown address, connection refused"),
            await ComparableAsync(log => log.Complete(Describe(Direction.Outbound, "10.98.0.1:55894", "client", "10.98.0.6:8081", null), Trace, 0, 0, TimeSpan.Zero, CloseReason.PeerUnreachable(new System.Net.Sockets.SocketException(10061)))));
    }

    [Fact]
    public async Task Refusals_read_as_recorded()
    {
        Assert.Equal(Recorded("service VIP, undeclared port"), await ComparableAsync(log => log.Rejected(Direction.Outbound, IPEndPoint.Parse("10.98.0.1:48738"), IPEndPoint.Parse("10.198.0.2:81"), Trace, CloseReason.NoHealthyUpstream(IPEndPoint.Parse("10.198.0.2:81")))));
        Assert.Equal(Recorded("illegal port: pod to own loopback 15001"), await ComparableAsync(log => log.Rejected(Direction.Outbound, IPEndPoint.Parse("127.0.0.1:33910"), IPEndPoint.Parse("127.0.0.1:15001"), Trace, CloseReason.SelfCall(IPEndPoint.Parse("127.0.0.1:15001")))));
        Assert.Equal(Recorded("HBONE to pod, nothing listens on port (503)", 1),
            await ComparableAsync(log => log.Complete(Describe(Direction.Outbound, "10.98.0.1:38472", "client", "10.98.0.2:15008", "server", "10.98.0.2:8088"), Trace, 0, 0, TimeSpan.Zero, CloseReason.HttpStatus(503))));
        Assert.Equal(Recorded("unknown waypoint", file: "access-log-text-routing-errors.txt"),
            await ComparableAsync(log => log.Rejected(Direction.Outbound, IPEndPoint.Parse("10.98.0.1:46262"), IPEndPoint.Parse("10.198.0.31:80"), Trace, CloseReason.UnknownWaypoint("nosuch.default.svc.cluster.local", new Decider("Service", "default/s")))));
        Assert.Contains($"error=\"{CloseReason.LocalWorkloadUnknown(new WorkloadInfo("notinxds", "default", "notinxds")).Text}\"", Recorded("pod is not in xDS (outbound)", file: "access-log-text-routing-errors.txt"));
        Assert.Contains($"error=\"{CloseReason.HboneTimeout.Text}\"", Recorded("packets to 15008 of the peer are dropped (connect timeout)", file: "access-log-text-routing-errors.txt"));
    }

    [Fact]
    public async Task A_refusal_tells_id_reason_and_decider_before_the_error()
    {
        var policy = new Decider("AuthorizationPolicy", "default/deny", "rule 1");
        Assert.EndsWith("duration=\"5ms\" connection.id=\"0af7651916cd43dd8448eb211c80319c\" reason=\"policy-denied\" decided_by=\"AuthorizationPolicy default/deny rule 1\""
            + " error=\"connection closed due to policy rejection: explicitly denied by: default/deny\"",
            await WrittenAsync(log => log.Complete(Describe(Direction.Inbound, "10.98.0.1:1", "client", "10.98.0.2:15008", "server", "10.98.0.2:80"), Trace, 0, 0, TimeSpan.FromMilliseconds(5),
                CloseReason.Policy(new AuthorizationVerdict.DeniedBy(new PolicyName("default", "deny")), policy))));
        Assert.EndsWith("direction=\"outbound\" connection.id=\"0af7651916cd43dd8448eb211c80319c\" reason=\"self-call\" decided_by=\"Address 127.0.0.1:15001\" error=\"attempted recursive call to ourselves\"",
            await WrittenAsync(log => log.Rejected(Direction.Outbound, IPEndPoint.Parse("127.0.0.1:33910"), IPEndPoint.Parse("127.0.0.1:15001"), Trace, CloseReason.SelfCall(IPEndPoint.Parse("127.0.0.1:15001")))));
    }

    [Fact]
    public async Task Bytes_are_seen_from_the_wire_and_lines_below_the_level_are_not_written()
    {
        var outbound = await WrittenAsync(log =>
        {
            log.Opened(Describe(Direction.Outbound, "10.98.0.1:1", "client", "10.98.0.6:2", null), Trace);
            log.Complete(Describe(Direction.Outbound, "10.98.0.1:1", "client", "10.98.0.6:2", null), Trace, received: 10, sent: 20, TimeSpan.FromMilliseconds(1234.9), null);
        });
        Assert.EndsWith("direction=\"outbound\" bytes_sent=10 bytes_recv=20 duration=\"1234ms\" connection.id=\"0af7651916cd43dd8448eb211c80319c\"", outbound);
        Assert.StartsWith("info\taccess\tconnection complete\t", outbound);
        Assert.Contains("bytes_sent=20 bytes_recv=10", await WrittenAsync(log => log.Complete(Describe(Direction.Inbound, "10.98.0.1:1", null, "10.98.0.2:2", "server"), Trace, 10, 20, TimeSpan.Zero, null)));
    }

    [Fact]
    public void Metric_series_carry_the_recorded_labels_in_the_recorded_order()
    {
        var registry = new MetricRegistry();
        var metrics = new TcpMetrics(registry);
        var tunnel = Describe(Direction.Outbound, "10.98.0.1:1", "client", "10.98.0.2:15008", "server", "10.98.0.2:8080", "server");
        var stranger = Describe(Direction.Inbound, "10.98.0.6:1", null, "10.98.0.2:8080", "server", service: "server");
        var counters = metrics.Opened(tunnel);
        counters.Received.Add(4);
        counters.Sent.Add(4);
        metrics.Closed(counters, null);
        metrics.Opened(stranger);
        var text = MetricExposition.Write(registry).Split('\n');
        foreach (var recorded in Samples.Text("samples/ztunnel/telemetry/metrics-after-traffic.txt").Split('\n').Where(l => l.StartsWith("istio_tcp_", StringComparison.Ordinal) && l.Contains("destination_service_name=\"server\"")
            && ((l.Contains("reporter=\"source\"") && l.Contains("source_workload=\"client\"")) || (l.StartsWith("istio_tcp_connections_opened", StringComparison.Ordinal) && l.Contains("source_workload=\"unknown\"")))))
            Assert.Contains(recorded, text);
    }

    [Fact]
    public void Coverage_sums_the_same_figures_by_pair_and_by_how_they_were_secured()
    {
        var registry = new MetricRegistry();
        var metrics = new TcpMetrics(registry);
        var tunnel = metrics.Opened(Describe(Direction.Outbound, "10.98.0.1:1", "client", "10.98.0.2:15008", "server", "10.98.0.2:8080", "server"));
        tunnel.Received.Add(700);
        tunnel.Sent.Add(299);
        metrics.Opened(Describe(Direction.Inbound, "10.98.0.6:1", null, "10.98.0.2:8080", "server", service: "server")).Sent.Add(1);
        var pods = new InPod.PodTable(_ => throw new IOException("none here"), new Readiness(), registry, Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance);
        var page = new CoveragePage("n1", metrics, pods, () => { }, new FakeTimeProvider());
        page.Register(registry);
        var answer = page.Answer(new HttpEndpointRequest("GET", "/debug/coverage", "", new Dictionary<string, string>(), default));
        var report = JsonSerializer.Deserialize(answer.Body.Span, CoverageJson.Default.ZtunnelCoverage)!;
        Assert.Equal(99.9, report.Traffic.PercentBytesMutualTls);
        Assert.Equal([new PairEnd("unknown", "unknown"), new PairEnd("default", "client")], report.Pairs.Select(p => p.Source));   // what is not protected comes first
        Assert.Equal(new TrafficCount(1, 999), report.Pairs[1].Traffic.MutualTls);
        Assert.Equal(("destination", new TrafficCount(1, 1)), (report.Pairs[0].Reporter, report.Pairs[0].Traffic.Plaintext));
        var text = MetricExposition.Write(registry).Split('\n');
        Assert.Contains("ambientmesh_coverage_bytes_total{reporter=\"source\",connection_security_policy=\"mutual_tls\"} 999", text);
        Assert.Contains("ambientmesh_coverage_connections_total{reporter=\"destination\",connection_security_policy=\"unknown\"} 1", text);
    }

    [Fact, Scenario("T-40")]
    public void Pairs_beyond_the_limit_are_summed_under_one_name()
    {
        var account = new PairAccount(maxPairs: 2);
        for (var i = 0; i < 100; i++) account.Add(PairAccount.Opened, ["source", "ns", $"w{i}", "ns", "server", "mutual_tls"], 1);
        Assert.Equal(3, account.Pairs.Count());
        Assert.Equal(98, account.Pairs.Single(p => p.Key.Source.Workload == MetricRegistry.OverflowLabel).Traffic.MutualTls.Connections);
    }

    [Fact]
    public void An_end_with_an_error_is_counted_as_failed_under_its_flag()
    {
        var registry = new MetricRegistry();
        var metrics = new TcpMetrics(registry);
        var connection = Describe(Direction.Inbound, "10.98.0.3:1", "plain", "10.98.0.2:8080", "server");
        metrics.Closed(metrics.Opened(connection), CloseReason.PolicyChange(null));
        var text = MetricExposition.Write(registry);
        Assert.Contains("response_flags=\"DENY\"", text.Split('\n').Single(l => l.StartsWith("istio_tcp_connections_failed_total", StringComparison.Ordinal)));
        Assert.Contains("response_flags=\"-\"", text.Split('\n').Single(l => l.StartsWith("istio_tcp_connections_opened_total", StringComparison.Ordinal)));
    }
}
