using System.IO.Compression;
using System.Net;
using System.Text;
using AmbientMesh.ControlPlane.Coverage;
using AmbientMesh.Kubernetes;
using AmbientMesh.Telemetry;
using AmbientMesh.Telemetry.Coverage;

namespace AmbientMesh.Fuzz.Targets;

/// <summary>What the control plane is answered when it asks nodes for their figures: by a ztunnel of any vendor in Prometheus text, by a node agent in JSON. The first byte chooses.</summary>
public sealed class NodeReportsTarget : FuzzTarget
{
    private static readonly DateTimeOffset Now = DateTimeOffset.UnixEpoch.AddYears(50);

    public override string Name => "node-reports";
    public override string Purpose => "metrics text, gzip, coverage JSON: figures or a failure with a reason; the same however the answer is cut; sums never negative; what we expose is read as it was";
    public override int MaxBytes => 4096;

    // A few hundred bytes of gzip may be a megabyte of text; the bound on what is read of it is the product's own.
    public override long MaxAllocatedBytes(int inputBytes) => (64 << 20) + (inputBytes * 16384L);

    public override IEnumerable<byte[]> Seeds()
    {
        const string Metrics = "# HELP istio_tcp_connections_opened x\n# TYPE istio_tcp_connections_opened counter\nistio_tcp_connections_opened_total{reporter=\"source\",source_workload=\"a\",source_workload_namespace=\"n\",destination_workload=\"b\",destination_workload_namespace=\"n\",connection_security_policy=\"mutual_tls\"} 3\nistio_tcp_received_bytes_total{reporter=\"destination\",source_workload=\"q\\\"\\\\\\n\"} 1.5e3 1700000000\nistio_tcp_sent_bytes_total 7\n# EOF\n";
        yield return SeedBytes.Of(0, Metrics);
        yield return SeedBytes.Of(0, Metrics.Replace(" 3\n", " 9.2e18\n", StringComparison.Ordinal));
        using var zipped = new MemoryStream();
        using (var gzip = new GZipStream(zipped, CompressionLevel.Fastest, leaveOpen: true)) gzip.Write(SeedBytes.Text(Metrics));
        yield return SeedBytes.Of(1, zipped.ToArray());
        yield return SeedBytes.Of(2, """{"node":"n","time":"2026-01-01T00:00:00Z","redirection":"iptables","ztunnels":1,"lastVerification":"2026-01-01T00:00:00Z","pods":[{"pod":"ns/p","uid":"1","state":"gap","reason":"no-ztunnel","message":"m","since":"2026-01-01T00:00:00Z"},{"pod":"ns/q","uid":"2","state":"verified"}]}""");
        yield return SeedBytes.Of(3, "a\"b\\c\nd e}f,g=");
    }

    public override IEnumerable<byte[]> Words() => SeedBytes.Words("istio_tcp_connections_opened_total", "istio_tcp_sent_bytes_total{", "reporter=\"", "source_workload=\"", "connection_security_policy=\"mutual_tls\"", "\"} ", "NaN", "+Inf", "-1", "9223372036854775807", "1e308", "\\n", "\\\"", "# EOF\n", "null", "\"pods\":[", "\"state\":\"gap\"", "\"uid\":\"1\"", "\"since\":");

    public override void Run(byte[] input)
    {
        var mode = (input.Length > 0 ? input[0] : 0) % 4;
        var rest = input.AsSpan(Math.Min(1, input.Length)).ToArray();
        if (mode == 3)
        {
            CheckExposed(Encoding.UTF8.GetString(rest));
            return;
        }
        var kind = mode == 2 ? NodePartKind.Agent : NodePartKind.Ztunnel;
        var whole = Ask(kind, new MemoryStream(rest), mode == 1);
        var answer = Told(whole);
        Demand.Equal(answer, Told(Ask(kind, new ByteByByte(rest), mode == 1)), "the answer cut differently");
        if (whole is NodeAnswer.Counters counters) CheckLedger(counters.Account);
    }

    private static void CheckLedger(PairAccount account)
    {
        var ledger = new TrafficLedger();
        ledger.Take("one", account, isNew: true);
        ledger.Mark(Now);
        ledger.Take("two", account, isNew: true);
        ledger.Mark(Now.AddMinutes(61));
        foreach (var traffic in (Traffic[])[ledger.Total, ledger.BetweenWorkloads, ledger.LastHour(Now.AddMinutes(62)), .. ledger.Pairs.Select(p => p.Traffic), .. account.Pairs.Select(p => p.Traffic)])
        {
            Demand.That(traffic.MutualTls is { Connections: >= 0, Bytes: >= 0 } && traffic.Plaintext is { Connections: >= 0, Bytes: >= 0 }, $"sums are not negative: {traffic}");
            Demand.That(traffic.PercentBytesMutualTls is null or (>= 0 and <= 100), $"a share is 0 to 100: {traffic}");
        }
    }

    private static void CheckExposed(string label)
    {
        var registry = new MetricRegistry();
        registry.Counter("a_total", label, "x", "y").With(label, "z").Add(5);
        foreach (var format in Enum.GetValues<MetricFormat>())
        {
            var read = new List<string>();
            var reader = new MetricTextReader(["a_total"], ["x", "y"], (name, values, value) => read.Add($"{name} {values[0]} {values[1]} {value}"));
            reader.ReadAsync(new MemoryStream(Encoding.UTF8.GetBytes(MetricExposition.Write(registry, format))), 1 << 20, CancellationToken.None).GetAwaiter().GetResult();
            Demand.SameSequence([$"a_total {label} z 5"], read, "a label exposed and read");
        }
    }

    private static NodeAnswer Ask(NodePartKind kind, Stream body, bool isZipped)
    {
        using var handler = new Answering(body, isZipped);
        using var scrape = new NodeScrape(TimeProvider.System, handler);
        var part = new NodePart(kind, "u", new ObjectKey("istio-system", "z"), "n", new Uri("http://10.0.0.1:1/x"), null);
        return scrape.AskAsync(part, CancellationToken.None).GetAwaiter().GetResult();
    }

    private static string Told(NodeAnswer answer)
    {
        switch (answer)
        {
            case NodeAnswer.Counters counters: return string.Join('\n', counters.Account.Pairs.Select(p => $"{p}"));
            case NodeAnswer.Pods pods:
                Demand.Equal(pods.Report.Pods.Count, pods.Report.Pods.ToDictionary(p => p.Uid).Count, "each pod is reported once");
                return string.Join('\n', pods.Report.Pods);
            case NodeAnswer.Failed failed:
                Demand.That(failed.Problem.Length > 0, "a failure has a reason");
                return "failed";
            default: return $"{answer}";
        }
    }

    private sealed class Answering(Stream body, bool isZipped) : HttpMessageHandler
    {
        // As SocketsHttpHandler does it for content-encoding: gzip.
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken) =>
            Task.FromResult(new HttpResponseMessage(HttpStatusCode.OK) { Content = new StreamContent(isZipped ? new GZipStream(body, CompressionMode.Decompress) : body) });
    }

    private sealed class ByteByByte(byte[] bytes) : MemoryStream(bytes)
    {
        public override int Read(byte[] buffer, int offset, int count) => base.Read(buffer, offset, Math.Min(count, 1));
        public override int Read(Span<byte> buffer) => base.Read(buffer[..Math.Min(buffer.Length, 1)]);
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => base.ReadAsync(buffer[..Math.Min(buffer.Length, 1)], cancellationToken);
    }
}
