namespace AmbientMesh.Telemetry.Otlp;

/// <summary>A registry as an ExportMetricsServiceRequest (opentelemetry collector.metrics.v1): the same series that a scrape shows, cumulative since the start.</summary>
internal sealed class MetricEncoding(DateTimeOffset start, DateTimeOffset now) : IMetricWriter
{
    private const ulong Cumulative = 2;

    private readonly List<(MetricFamily Family, MetricKind Kind, List<Point> Points)> _families = [];
    private readonly ulong _start = SpanEncoding.Nanoseconds(start);
    private readonly ulong _now = SpanEncoding.Nanoseconds(now);

    private readonly record struct Point(IReadOnlyList<string> Labels, double Value, double[]? Bounds, long[]? Counts);

    public static ReadOnlyMemory<byte> Encode(MetricRegistry registry, SpanResource resource, OtlpScope scope, DateTimeOffset start, DateTimeOffset now)
    {
        var encoding = new MetricEncoding(start, now);
        foreach (var family in registry.Families) family.Write(encoding);
        var writer = new ProtoWriter();
        writer.Message(1, (encoding, resource, scope), static (resourceMetrics, state) =>
        {
            resourceMetrics.Message(1, state.resource, static (resource, of) =>
            {
                foreach (var (key, value) in of.Attributes) resource.Attribute(1, key, value);
            });
            resourceMetrics.Message(2, state, static (scopeMetrics, state) =>
            {
                scopeMetrics.Message(1, state.scope, OtlpScope.Write);
                foreach (var family in state.encoding._families) scopeMetrics.Message(2, (state.encoding, family), static (metric, f) => f.encoding.Metric(metric, f.family.Family, f.family.Kind, f.family.Points));
            });
        });
        return writer.Written;
    }

    public void Begin(MetricFamily family, MetricKind kind) => _families.Add((family, kind, []));

    public void Number(IReadOnlyList<string> values, double value) => _families[^1].Points.Add(new Point(values, value, null, null));

    public void Distribution(IReadOnlyList<string> values, double[] bounds, long[] counts, double sum) => _families[^1].Points.Add(new Point(values, sum, bounds, counts));

    private void Metric(ProtoWriter writer, MetricFamily family, MetricKind kind, List<Point> points)
    {
        writer.Text(1, family.Name);
        writer.Text(2, family.Help);
        if (family.Unit is { } unit) writer.Text(3, unit);
        var field = kind switch { MetricKind.Gauge => 5, MetricKind.Counter => 7, _ => 9 };
        writer.Message(field, (this, family, kind, points), static (data, state) =>
        {
            foreach (var point in state.points) data.Message(1, (state.Item1, state.family, state.kind, point), static (p, s) => s.Item1.Write(p, s.family, s.kind, s.point));
            if (state.kind == MetricKind.Gauge) return;
            data.Varint(2, Cumulative);
            if (state.kind == MetricKind.Counter) data.Varint(3, 1);   // monotonic
        });
    }

    private void Write(ProtoWriter writer, MetricFamily family, MetricKind kind, in Point point)
    {
        if (kind != MetricKind.Gauge) writer.Fixed64(2, _start);
        writer.Fixed64(3, _now);
        if (point.Counts is not { } counts) writer.Double(4, point.Value);
        else
        {
            writer.Fixed64(4, (ulong)counts.Sum());
            writer.Double(5, point.Value);
            // Repeated scalars may also be written one by one (protobuf encoding, "packed").
            foreach (var count in counts) writer.Fixed64(6, (ulong)count);
            foreach (var bound in point.Bounds!) writer.Double(7, bound);
        }
        var attributes = kind == MetricKind.Histogram ? 9 : 7;
        for (var i = 0; i < family.Labels.Count; i++) writer.Attribute(attributes, family.Labels[i], point.Labels[i]);
    }
}
