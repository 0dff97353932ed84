using AmbientMesh.Telemetry.Otlp;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.Telemetry.Tests.Otlp;

/// <summary>Export to a collector: what arrives, and that one which is away disturbs nothing.</summary>
public sealed class OtlpExportTests
{
    private static readonly SpanResource s_client = new([new("service.name", "client")]);
    private static readonly SpanResource s_server = new([new("service.name", "server")]);

    private static Span Span(SpanResource? resource = null, string? error = null, int number = 1) => new()
    {
        Resource = resource ?? s_client,
        Context = new TraceContext((UInt128)0xabc, (ulong)number, 7, IsSampled: true),
        Name = "connect server",
        Kind = SpanKind.Client,
        Start = DateTimeOffset.UnixEpoch.AddSeconds(10),
        End = DateTimeOffset.UnixEpoch.AddSeconds(12),
        Attributes = [new("a", "text"), new("n", 5L), new("zero", 0), new("t", true), new("none", null)],
        Error = error,
    };

    private static OtlpSettings Settings(OtlpCollector collector, params (string Name, string Value)[] more) => Read([("OTEL_EXPORTER_OTLP_ENDPOINT", collector.Address.ToString()), ("OTEL_BSP_SCHEDULE_DELAY", "1"), .. more]);

    private static OtlpSettings Read(params (string Name, string Value)[] variables)
    {
        var settings = OtlpSettings.Read(name => variables.FirstOrDefault(v => v.Name == name).Value, out var problems);
        Assert.Empty(problems);
        return settings;
    }

    private static OtlpExport Start(OtlpSettings settings, MetricRegistry? registry = null, TimeProvider? clock = null) =>
        OtlpExport.Start(settings, registry ?? new MetricRegistry(), "part", "1.2", [new("k8s.pod.name", "p"), new("k8s.node.name", "")], () => { }, clock ?? TimeProvider.System, NullLogger.Instance)!;

    private static string Shown(IEnumerable<KeyValue> attributes) => string.Join(' ', attributes.Select(a => $"{a.Key}={a.Value.ValueCase switch
    {
        AnyValue.ValueOneofCase.StringValue => a.Value.StringValue,
        AnyValue.ValueOneofCase.IntValue => a.Value.IntValue.ToString(),
        var other => other.ToString(),
    }}"));

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Spans_arrive_under_their_workloads_with_ids_times_attributes_and_status(bool grpc)
    {
        await using var collector = await OtlpCollector.StartAsync(grpc);
        await using var export = Start(Settings(collector, ("OTEL_EXPORTER_OTLP_PROTOCOL", grpc ? "grpc" : "http/protobuf"), ("OTEL_EXPORTER_OTLP_HEADERS", "x-token=a%20b")));
        Assert.True(export.TryAdd(Span(error: "refused")));
        var request = await collector.TracesAsync();
        var of = Assert.Single(request.ResourceSpans);
        Assert.Equal("service.name=client", Shown(of.Resource.Attributes));
        Assert.Equal(("ambientmesh", "1.2"), (of.ScopeSpans[0].Scope.Name, of.ScopeSpans[0].Scope.Version));
        var span = of.ScopeSpans[0].Spans[0];
        Assert.Equal("00000000000000000000000000000abc/0000000000000001/0000000000000007", $"{Hex(span.TraceId)}/{Hex(span.SpanId)}/{Hex(span.ParentSpanId)}");
        Assert.Equal(("connect server", 3, 10_000_000_000UL, 12_000_000_000UL, 1u), (span.Name, span.Kind, span.StartTimeUnixNano, span.EndTimeUnixNano, span.Flags));
        Assert.Equal("a=text n=5 zero=0 t=BoolValue", Shown(span.Attributes));
        Assert.Equal((2, "refused"), (span.Status.Code, span.Status.Message));
        Assert.Equal("a b", collector.LastToken);

        static string Hex(Google.Protobuf.ByteString bytes) => Convert.ToHexStringLower(bytes.Span);
    }

    [Fact]
    public async Task A_collector_that_takes_one_signal_only_is_told_of_once()
    {
        await using var collector = await OtlpCollector.StartAsync();
        collector.RefusedPath = "/v1/metrics";
        var registry = new MetricRegistry();
        var log = new Lines();
        await using (var export = OtlpExport.Start(Settings(collector, ("OTEL_METRIC_EXPORT_INTERVAL", "1")), registry, "part", "1.2", [], () => { }, TimeProvider.System, log)!)
        {
            for (var round = 1; round <= 3; round++)
            {
                await Patience.Until(() => Failed(round));
                export.TryAdd(Span());
                await collector.TracesAsync();
            }
        }
        Assert.Equal(["the OpenTelemetry collector does not take metrics"], log.All.Select(line => line.Split(':')[0]));

        bool Failed(int atLeast) => MetricExposition.Write(registry).Split('\n').Any(line =>
            line.StartsWith("ambientmesh_otlp_export_failures_total{signal=\"metrics\"} ", StringComparison.Ordinal) && double.Parse(line.Split(' ')[1]) >= atLeast);
    }

    [Fact]
    public async Task A_metric_that_cannot_be_read_costs_one_export_and_not_all_later_ones()
    {
        await using var collector = await OtlpCollector.StartAsync();
        var registry = new MetricRegistry();
        var reads = 0;
        registry.GaugeFrom("broken", "Fails at first.", () => Interlocked.Increment(ref reads) == 1 ? throw new IOException("Too many open files") : 1);
        var log = new Lines();
        await using var export = OtlpExport.Start(Settings(collector, ("OTEL_METRIC_EXPORT_INTERVAL", "1")), registry, "part", "1.2", [], () => { }, TimeProvider.System, log)!;
        await collector.MetricsAsync();
        Assert.InRange(reads, 2, int.MaxValue);
        Assert.Equal("the metrics could not be read for the OpenTelemetry collector", log.All.First());
    }

    [Fact]
    public void A_file_of_the_kernel_that_cannot_be_opened_leaves_its_metric_unknown()
    {
        Assert.True(double.IsNaN(ProcessMetrics.OrUnknown(() => throw new IOException("Too many open files"))));
        var registry = new MetricRegistry();
        registry.GaugeFrom("some_fds", "Unknown.", () => ProcessMetrics.OrUnknown(() => throw new IOException("Too many open files")));
        Assert.Contains("some_fds NaN", MetricExposition.Write(registry).Split('\n'));
    }

    private sealed class Lines : Microsoft.Extensions.Logging.ILogger
    {
        private readonly System.Collections.Concurrent.ConcurrentQueue<string> _lines = [];

        public IEnumerable<string> All => _lines;
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;
        public bool IsEnabled(Microsoft.Extensions.Logging.LogLevel logLevel) => true;

        public void Log<TState>(Microsoft.Extensions.Logging.LogLevel logLevel, Microsoft.Extensions.Logging.EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            _lines.Enqueue(formatter(state, exception));
    }

    [Fact]
    public async Task Spans_of_one_moment_go_together_grouped_by_workload()
    {
        await using var collector = await OtlpCollector.StartAsync();
        await using var export = Start(Settings(collector, ("OTEL_BSP_SCHEDULE_DELAY", "60000")));
        export.TryAdd(Span(s_client));
        export.TryAdd(Span(s_server, number: 2));
        export.TryAdd(Span(s_client, number: 3));
        await export.DisposeAsync();   // does not wait for the minute
        var request = await collector.TracesAsync();
        Assert.Equal([("service.name=client", 2), ("service.name=server", 1)], request.ResourceSpans.Select(r => (Shown(r.Resource.Attributes), r.ScopeSpans[0].Spans.Count)));
    }

    [Fact]
    public async Task Metrics_are_those_that_are_scraped()
    {
        await using var collector = await OtlpCollector.StartAsync();
        var clock = new FakeTimeProvider();
        var registry = new MetricRegistry();
        registry.Counter("requests", "Requests.", "code").With("200").Add(3);
        registry.Gauge("open", "Open.").Set(-1.5);
        var histogram = registry.Histogram("time_seconds", "Time.", [0.1, 1], "type").With("x");
        histogram.Observe(0.05);
        histogram.Observe(5);
        await using var export = Start(Settings(collector, ("OTEL_RESOURCE_ATTRIBUTES", "team=a,service.name=mine"), ("OTEL_TRACES_EXPORTER", "none")), registry, clock);
        await export.DisposeAsync();   // the last figures are sent at the end
        var request = await collector.MetricsAsync();
        Assert.Equal("service.name=mine service.version=1.2 k8s.pod.name=p team=a", Shown(request.ResourceMetrics[0].Resource.Attributes));
        var metrics = request.ResourceMetrics[0].ScopeMetrics[0].Metrics.ToDictionary(m => m.Name);
        var sum = metrics["requests"].Sum;
        Assert.Equal((2, true, 3.0, "code=200"), (sum.AggregationTemporality, sum.IsMonotonic, sum.DataPoints[0].AsDouble, Shown(sum.DataPoints[0].Attributes)));
        Assert.Equal(-1.5, metrics["open"].Gauge.DataPoints[0].AsDouble);
        var point = metrics["time_seconds"].Histogram.DataPoints[0];
        Assert.Equal((2UL, 5.05), (point.Count, point.Sum));
        Assert.Equal([1UL, 0, 1], point.BucketCounts);
        Assert.Equal([0.1, 1], point.ExplicitBounds);
        Assert.Equal("type=x", Shown(point.Attributes));
        Assert.True(point.StartTimeUnixNano > 0 && point.TimeUnixNano >= point.StartTimeUnixNano);
    }

    [Fact, Scenario("T-40")]
    public async Task A_collector_that_is_away_costs_a_bounded_queue_and_nothing_else()
    {
        var registry = new MetricRegistry();
        await using var export = Start(Read(("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9/v1/traces"), ("OTEL_BSP_MAX_QUEUE_SIZE", "10"), ("OTEL_BSP_SCHEDULE_DELAY", "60000")), registry);
        var taken = Enumerable.Range(0, 1000).Count(i => export.TryAdd(Span(number: i + 1)));
        Assert.InRange(taken, 10, 20);   // those the exporter took out at once make room
        await Patience.Within(export.DisposeAsync().AsTask());
        var text = MetricExposition.Write(registry);
        Assert.Contains($"ambientmesh_otlp_dropped_total{{why=\"queue-full\"}} {1000 - taken}\n", text);
        Assert.Contains($"ambientmesh_otlp_dropped_total{{why=\"not-taken\"}} {taken}\n", text);
    }

    [Fact]
    public async Task A_collector_that_does_not_answer_keeps_the_end_waiting_for_two_seconds()
    {
        await using var collector = await OtlpCollector.StartAsync(isSilent: true);
        var (clock, registry) = (new FakeTimeProvider(), new MetricRegistry());
        var export = Start(Settings(collector, ("OTEL_METRICS_EXPORTER", "none")), registry, clock);
        export.TryAdd(Span());
        var ending = export.DisposeAsync().AsTask();
        await collector.TracesAsync();   // it was sent
        await clock.TimersAsync(due => due.Contains(TimeSpan.FromSeconds(2)), Patience.Token);
        clock.Advance(TimeSpan.FromSeconds(2) - TimeSpan.FromMilliseconds(1));
        Assert.False(ending.IsCompleted);
        clock.Advance(TimeSpan.FromMilliseconds(1));
        await Patience.Within(ending);
        Assert.Contains("ambientmesh_otlp_dropped_total{why=\"not-taken\"} 1\n", MetricExposition.Write(registry));
    }

    [Fact]
    public async Task What_the_collector_refuses_for_good_is_not_repeated()
    {
        await using var collector = await OtlpCollector.StartAsync();
        collector.HttpStatus = 400;
        var export = Start(Settings(collector, ("OTEL_METRICS_EXPORTER", "none")));
        export.TryAdd(Span());
        await export.DisposeAsync();
        Assert.Equal(1, collector.Requests);
    }

    [Fact]
    public void Nothing_is_exported_unless_an_endpoint_is_set()
    {
        Assert.False(Read().IsOn);
        Assert.False(Read(("OTEL_SERVICE_NAME", "x")).IsOn);
        Assert.False(Read(("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"), ("OTEL_SDK_DISABLED", "true")).IsOn);
        Assert.Null(OtlpExport.Start(Read(), new MetricRegistry(), "part", "1", [], () => { }, TimeProvider.System, NullLogger.Instance));
        var settings = Read(("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/base/"));
        Assert.Equal(("http://c:4318/base/v1/traces", "http://c:4318/base/v1/metrics"), (settings.Traces!.ToString(), settings.Metrics!.ToString()));
        Assert.Equal("http://c:1/x", Read(("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:1/x")).Traces!.ToString());
    }

    [Theory]
    [InlineData("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")]
    [InlineData("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]
    [InlineData("OTEL_TRACES_SAMPLER", "jaeger_remote")]
    [InlineData("OTEL_TRACES_EXPORTER", "zipkin")]
    [InlineData("OTEL_EXPORTER_OTLP_HEADERS", "nothing")]
    [InlineData("OTEL_METRIC_EXPORT_INTERVAL", "1m")]
    [InlineData("OTEL_BSP_MAX_QUEUE_SIZE", "0")]
    public void A_setting_that_means_nothing_is_named(string name, string value)
    {
        (string Name, string Value)[] variables = [(name, value), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318")];
        OtlpSettings.Read(wanted => variables.FirstOrDefault(v => v.Name == wanted).Value, out var problems);
        Assert.Contains(name, Assert.Single(problems));
    }

    [Fact]
    public void Sampling_follows_the_parent_or_the_ratio_and_both_ends_judge_alike()
    {
        Assert.False(TraceSampling.Off.Begin().IsSampled);
        Assert.True(TraceSampling.Parse(null, null)!.Begin().IsSampled);
        var half = TraceSampling.Parse("traceidratio", "0.5")!;
        var made = Enumerable.Range(0, 2000).Select(_ => half.Begin()).ToList();
        Assert.InRange(made.Count(t => t.IsSampled), 800, 1200);
        Assert.All(made, t => Assert.Equal(t.IsSampled, half.Continue(t with { IsSampled = !t.IsSampled }).IsSampled));
        var follows = TraceSampling.Parse("parentbased_traceidratio", "0")!;
        Assert.True(follows.Continue(TraceContext.New(isSampled: true)).IsSampled);
        Assert.False(TraceSampling.Parse("always_off", null)!.Continue(TraceContext.New(isSampled: true)).IsSampled);
        Assert.Null(TraceSampling.Parse("traceidratio", "1.5"));
        Assert.Null(TraceSampling.Parse("parentbased_xray", null));
    }
}
