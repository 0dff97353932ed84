namespace AmbientMesh.Telemetry;

/// <summary>The metrics of one process, kept in registration order. Thread-safe; no reflection.</summary>
/// <remarks>
/// Speed: registration once at start, <c>With</c> once per label set, <c>Add</c> per event (one interlocked operation).
/// Each family holds at most <paramref name="maxSeriesPerFamily"/> label sets; what comes later is counted under one series whose labels all read
/// <see cref="OverflowLabel"/>, so that a hostile or runaway label can never fill the memory.
/// </remarks>
public sealed class MetricRegistry(int maxSeriesPerFamily = 10_000)
{
    public const string OverflowLabel = "overflow";

    private readonly Lock _gate = new();
    private readonly List<MetricFamily> _families = [];

    /// <summary>A counter without labels; it is exposed from 0 on.</summary>
    public Counter Counter(string name, string help) => Counter(name, help, []).With();

    /// <summary>A counter family; nothing is exposed before the first label set is used.</summary>
    public CounterFamily Counter(string name, string help, params string[] labels) => Add(new CounterFamily(name, help, labels, maxSeriesPerFamily));

    public Gauge Gauge(string name, string help) => Gauge(name, help, []).With();

    public GaugeFamily Gauge(string name, string help, params string[] labels) => Add(new GaugeFamily(name, help, labels, maxSeriesPerFamily));

    /// <summary>A gauge read from <paramref name="read"/> at each scrape; it must be cheap and must not throw.</summary>
    public void GaugeFrom(string name, string help, Func<double> read) => Add(new ObservedGauge(name, help, read));

    /// <summary>A gauge family whose series are computed at each scrape; there must be few of them, and <paramref name="read"/> must be cheap and must not throw.</summary>
    public void GaugeFrom(string name, string help, string[] labels, Func<IEnumerable<ObservedSeries>> read) => Add(new ObservedFamily(name, help, labels, isCounter: false, read));

    /// <summary>As <see cref="GaugeFrom(string, string, string[], Func{IEnumerable{ObservedSeries}})"/> for numbers that only grow.</summary>
    public void CounterFrom(string name, string help, string[] labels, Func<IEnumerable<ObservedSeries>> read) => Add(new ObservedFamily(name, help, labels, isCounter: true, read));

    /// <summary>A histogram family with upper bounds <paramref name="buckets"/>, ascending, without +Inf.</summary>
    public HistogramFamily Histogram(string name, string help, double[] buckets, params string[] labels) =>
        Add(new HistogramFamily(name, help, buckets, labels, maxSeriesPerFamily));

    /// <summary>A snapshot of the families, in registration order.</summary>
    public IReadOnlyList<MetricFamily> Families
    {
        get { lock (_gate) return [.. _families]; }
    }

    private T Add<T>(T family) where T : MetricFamily
    {
        lock (_gate)
        {
            if (_families.Any(known => known.Name == family.Name))
                throw new InvalidOperationException($"The metric {family.Name} is registered twice.");
            _families.Add(family);
        }
        return family;
    }
}
