namespace AmbientMesh.Telemetry;

/// <summary>A number that only grows.</summary>
public sealed class Counter
{
    private long _value;

    public long Value => Interlocked.Read(ref _value);

    /// <summary>Adds <paramref name="amount"/>, 0 or more.</summary>
    public void Add(long amount = 1)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(amount);
        Interlocked.Add(ref _value, amount);
    }
}

/// <summary>A number that goes up and down.</summary>
public sealed class Gauge
{
    private double _value;

    public double Value => Volatile.Read(ref _value);

    public void Set(double value) => Volatile.Write(ref _value, value);

    public void Add(double amount)
    {
        double seen;
        do seen = Volatile.Read(ref _value);
        while (Interlocked.CompareExchange(ref _value, seen + amount, seen) != seen);
    }

    public void Increment() => Add(1);
    public void Decrement() => Add(-1);
}

/// <summary>Counts observations by size.</summary>
public sealed class Histogram
{
    private readonly double[] _bounds;
    private readonly long[] _counts;   // the last one is +Inf
    private readonly Gauge _sum = new();

    internal Histogram(double[] bounds)
    {
        _bounds = bounds;
        _counts = new long[bounds.Length + 1];
    }

    public void Observe(double value)
    {
        var index = 0;
        while (index < _bounds.Length && value > _bounds[index]) index++;
        Interlocked.Increment(ref _counts[index]);
        _sum.Add(value);
    }

    internal double Sum => _sum.Value;

    /// <summary>Counts per bucket (not yet cumulative), read once.</summary>
    internal long[] Counts()
    {
        var counts = new long[_counts.Length];
        for (var i = 0; i < counts.Length; i++) counts[i] = Interlocked.Read(ref _counts[i]);
        return counts;
    }
}

public sealed class CounterFamily(string name, string help, string[] labels, int maxSeries) : LabelledFamily<Counter>(name, help, labels, maxSeries)
{
    protected override Counter Create() => new();

    /// <summary>Every series' label values, in the order of <see cref="MetricFamily.Labels"/>, and value.</summary>
    public IEnumerable<(IReadOnlyList<string> Values, long Value)> Read() => Snapshot().Select(entry => ((IReadOnlyList<string>)entry.Values, entry.Series.Value));

    internal override void Write(IMetricWriter writer)
    {
        var series = Snapshot();
        if (series.Length == 0) return;
        writer.Begin(this, MetricKind.Counter);
        foreach (var (values, counter) in series) writer.Number(values, counter.Value);
    }
}

public sealed class GaugeFamily(string name, string help, string[] labels, int maxSeries) : LabelledFamily<Gauge>(name, help, labels, maxSeries)
{
    protected override Gauge Create() => new();

    internal override void Write(IMetricWriter writer)
    {
        var series = Snapshot();
        if (series.Length == 0) return;
        writer.Begin(this, MetricKind.Gauge);
        foreach (var (values, gauge) in series) writer.Number(values, gauge.Value);
    }
}

public sealed class HistogramFamily : LabelledFamily<Histogram>
{
    private readonly double[] _bounds;

    public HistogramFamily(string name, string help, double[] bounds, string[] labels, int maxSeries) : base(name, help, labels, maxSeries)
    {
        for (var i = 1; i < bounds.Length; i++)
            if (bounds[i] <= bounds[i - 1]) throw new ArgumentException($"The buckets of {name} do not ascend.", nameof(bounds));
        _bounds = bounds;
    }

    protected override Histogram Create() => new(_bounds);

    internal override void Write(IMetricWriter writer)
    {
        var series = Snapshot();
        if (series.Length == 0) return;
        writer.Begin(this, MetricKind.Histogram);
        foreach (var (values, histogram) in series) writer.Distribution(values, _bounds, histogram.Counts(), histogram.Sum);
    }
}

internal sealed class ObservedGauge(string name, string help, Func<double> read) : MetricFamily(name, help, [])
{
    internal override void Write(IMetricWriter writer)
    {
        writer.Begin(this, MetricKind.Gauge);
        writer.Number([], read());
    }
}

/// <summary>One series that is computed when it is asked for.</summary>
/// <param name="Labels">Values, one per label name in order.</param>
public readonly record struct ObservedSeries(string[] Labels, double Value);

internal sealed class ObservedFamily(string name, string help, string[] labels, bool isCounter, Func<IEnumerable<ObservedSeries>> read) : MetricFamily(name, help, labels)
{
    internal override void Write(IMetricWriter writer)
    {
        var any = false;
        foreach (var series in read())
        {
            if (!any) writer.Begin(this, isCounter ? MetricKind.Counter : MetricKind.Gauge);
            any = true;
            writer.Number(series.Labels, series.Value);
        }
    }
}
