using System.Text.Json;
using AmbientMesh.Telemetry.Tests.Otlp;

namespace AmbientMesh.EndToEnd.Tests;

/// <summary>Spans and metrics arrive at a collector in the cluster, switched on as an operator does.</summary>
public sealed class ExportTests(ClusterFixture cluster)
{
    private const string System = "istio-system", Ztunnels = "daemonset/ztunnel";

    [Fact]
    public async Task Both_ends_of_a_connection_are_one_trace_at_the_collector_and_a_denial_names_its_reason()
    {
        cluster.RequireLab("switching on the export of every ztunnel");
        await using var observe = await TestNamespace.CreateAsync(cluster, "observe");
        await using var shop = await TestNamespace.CreateAsync(cluster, "traced", ambient: true);
        await observe.ApplyAsync(Manifests.Collector);
        await shop.DeployShopAsync(replicas: 1);
        await observe.PodReadyAsync("collector");
        try
        {
            await cluster.Run.MustKubectlAsync(Patience.Token, "set", "env", "-n", System, Ztunnels,
                $"OTEL_EXPORTER_OTLP_ENDPOINT=http://collector.{observe.Name}:4318", "OTEL_BSP_SCHEDULE_DELAY=300", "OTEL_METRIC_EXPORT_INTERVAL=1000");
            await shop.RolledOutAsync(System, Ztunnels);
            await shop.EnrolledAsync();

            Assert.True((await shop.InClientAsync("get", shop.ServerUrl("traced"))).Succeeded);
            var (caller, callee) = await PairAsync(observe, shop);
            Assert.Equal((3, 2), (caller.Span.Kind, callee.Span.Kind));   // CLIENT and SERVER
            Assert.Equal(caller.Span.SpanId, callee.Span.ParentSpanId);
            Assert.Equal(("client", "server"), (caller["service.name"], callee["service.name"]));
            Assert.Equal($"spiffe://cluster.local/ns/{shop.Name}/sa/client", callee["ambientmesh.source.principal"]);
            Assert.Equal("mutual_tls", callee["ambientmesh.connection.security"]);
            var log = await cluster.Run.MustKubectlAsync(Patience.Token, "logs", "-n", System, "-l", "app=ztunnel", "--tail=2000");
            Assert.Contains(Convert.ToHexStringLower(callee.Span.TraceId.Span), log, StringComparison.Ordinal);

            await shop.ApplyAsync("""
                apiVersion: security.istio.io/v1
                kind: AuthorizationPolicy
                metadata: {name: nobody}
                spec: {action: DENY, rules: [{from: [{source: {namespaces: [NAMESPACE]}}]}]}
                """);
            var denied = await FirstAsync(observe, span => span["error.type"] == "policy-denied" && span.Span.Kind == 2);
            Assert.StartsWith($"AuthorizationPolicy {shop.Name}/nobody", denied["ambientmesh.decided_by"], StringComparison.Ordinal);

            await MetricAsync(observe, "istio_tcp_connections_opened");
        }
        finally
        {
            await cluster.Run.MustKubectlAsync(Patience.Token, "set", "env", "-n", System, Ztunnels, "OTEL_EXPORTER_OTLP_ENDPOINT-", "OTEL_BSP_SCHEDULE_DELAY-", "OTEL_METRIC_EXPORT_INTERVAL-");
            await shop.RolledOutAsync(System, Ztunnels);
        }
    }

    // The server's span of a connection of this namespace, and the client's span that is its parent.
    private async Task<(SentSpan Caller, SentSpan Callee)> PairAsync(TestNamespace observe, TestNamespace shop)
    {
        var callee = await FirstAsync(observe, span => span.Span.Kind == 2 && span["service.namespace"] == shop.Name && !span.Span.ParentSpanId.IsEmpty && span["error.type"].Length == 0);
        return (await FirstAsync(observe, span => span.Span.TraceId == callee.Span.TraceId && span.Span.Kind == 3), callee);
    }

    private async Task<SentSpan> FirstAsync(TestNamespace observe, Predicate<SentSpan> isWanted)
    {
        var patience = Patience.Token;
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(300));
        while (true)
        {
            var spans = (await PostedAsync(observe, "v1/traces")).Select(ExportTraceRequest.Parser.ParseFrom)
                .SelectMany(r => r.ResourceSpans).SelectMany(r => r.ScopeSpans.SelectMany(s => s.Spans).Select(span => new SentSpan(r.Resource, span)));
            if (spans.FirstOrDefault(span => isWanted(span)) is { } found) return found;
            await timer.WaitForNextTickAsync(patience);
        }
    }

    private async Task MetricAsync(TestNamespace observe, string name)
    {
        var patience = Patience.Token;
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(300));
        while (!(await PostedAsync(observe, "v1/metrics")).Select(ExportMetricsRequest.Parser.ParseFrom)
            .SelectMany(r => r.ResourceMetrics).SelectMany(r => r.ScopeMetrics).SelectMany(s => s.Metrics).Any(m => m.Name == name)) await timer.WaitForNextTickAsync(patience);
    }

    private async Task<byte[][]> PostedAsync(TestNamespace observe, string path)
    {
        var answer = await cluster.Run.MustKubectlAsync(Patience.Token, "exec", "-n", observe.Name, "collector", "--", "/app/samples", "get", $"http://127.0.0.1:4318/{path}");
        return JsonSerializer.Deserialize<byte[][]>(answer[answer.IndexOf('[', StringComparison.Ordinal)..])!;
    }

    private sealed record SentSpan(Resource Resource, SpanData Span)
    {
        /// <summary>The attribute of the span, or of its resource; empty when absent.</summary>
        public string this[string key] => Span.Attributes.Concat(Resource.Attributes).FirstOrDefault(a => a.Key == key)?.Value.StringValue ?? "";
    }
}
