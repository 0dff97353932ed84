using System.Collections.Concurrent;

namespace AmbientMesh.Telemetry;

/// <summary>What a family's numbers are.</summary>
internal enum MetricKind { Counter, Gauge, Histogram }

/// <summary>Takes families and their series in one form or another.</summary>
internal interface IMetricWriter
{
    /// <summary>The series that follow belong to this family.</summary>
    void Begin(MetricFamily family, MetricKind kind);

    /// <param name="values">One per label of the family, in order.</param>
    void Number(IReadOnlyList<string> values, double value);

    /// <param name="counts">Per bucket, one more than <paramref name="bounds"/>; not cumulative.</param>
    void Distribution(IReadOnlyList<string> values, double[] bounds, long[] counts, double sum);
}

/// <summary>One metric name with its help text and label names.</summary>
public abstract class MetricFamily(string name, string help, string[] labels)
{
    /// <summary>As registered; a counter's trailing <c>_total</c> may be given or left out.</summary>
    public string Name { get; } = Named(name);
    public string Help { get; } = help;
    public IReadOnlyList<string> Labels { get; } = [.. labels.Select(Named)];

    /// <summary>The unit the name ends in (<c>bytes</c>, <c>seconds</c>), written as an OpenMetrics UNIT line; null for none.</summary>
    public string? Unit { get; set; }

    /// <summary>Writes every series of the family, in the order of first use; nothing when it has none.</summary>
    internal abstract void Write(IMetricWriter writer);

    private static string Named(string name) =>
        name.Length > 0 && !char.IsAsciiDigit(name[0]) && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or ':')
            ? name
            : throw new ArgumentException($"\"{name}\" is no metric or label name.", nameof(name));
}

/// <summary>A family whose series are told apart by label values.</summary>
public abstract class LabelledFamily<TSeries>(string name, string help, string[] labels, int maxSeries) : MetricFamily(name, help, labels)
    where TSeries : class
{
    private readonly ConcurrentDictionary<LabelValues, TSeries> _byLabels = new();
    private readonly Lock _gate = new();
    private readonly List<(string[] Values, TSeries Series)> _inOrder = [];
    private TSeries? _overflow;

    /// <summary>The series for these values, one per label name in order. Keep the result: this is a dictionary lookup.</summary>
    public TSeries With(params string[] values)
    {
        if (values.Length != Labels.Count) throw new ArgumentException($"{Name} has {Labels.Count} labels, {values.Length} values were given.", nameof(values));
        return _byLabels.TryGetValue(new LabelValues(values), out var series) ? series : AddSeries(values);
    }

    /// <summary>Forgets a series, e.g. of an object that is gone; false when it did not exist.</summary>
    public bool Remove(params string[] values)
    {
        lock (_gate)
        {
            if (!_byLabels.TryRemove(new LabelValues(values), out var series)) return false;
            return _inOrder.RemoveAll(entry => ReferenceEquals(entry.Series, series)) > 0;
        }
    }

    protected abstract TSeries Create();

    /// <summary>The series in order of first use.</summary>
    internal (string[] Values, TSeries Series)[] Snapshot()
    {
        lock (_gate) return [.. _inOrder];
    }

    private TSeries AddSeries(string[] values)
    {
        lock (_gate)
        {
            if (_byLabels.TryGetValue(new LabelValues(values), out var known)) return known;
            if (_inOrder.Count >= maxSeries && Labels.Count > 0) return _overflow ??= Append([.. values.Select(_ => MetricRegistry.OverflowLabel)]);
            string[] kept = [.. values];
            var series = Append(kept);
            _byLabels[new LabelValues(kept)] = series;
            return series;
        }
    }

    private TSeries Append(string[] values)
    {
        var series = Create();
        _inOrder.Add((values, series));
        return series;
    }

    private readonly struct LabelValues(string[] values) : IEquatable<LabelValues>
    {
        private readonly string[] _values = values;

        public bool Equals(LabelValues other) => _values.AsSpan().SequenceEqual(other._values);
        public override bool Equals(object? obj) => obj is LabelValues other && Equals(other);

        public override int GetHashCode()
        {
            var hash = new HashCode();
            foreach (var value in _values) hash.Add(value);
            return hash.ToHashCode();
        }
    }
}
