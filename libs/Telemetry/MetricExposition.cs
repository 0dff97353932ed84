using System.Globalization;
using System.Text;

namespace AmbientMesh.Telemetry;

/// <summary>How metrics are written.</summary>
public enum MetricFormat
{
    /// <summary>OpenMetrics 1.0 text: counters end in <c>_total</c>, the body ends in <c># EOF</c>. What ztunnel serves.</summary>
    OpenMetrics,
    /// <summary>Prometheus text 0.0.4: names exactly as registered. What istiod and the CNI agent serve.</summary>
    Prometheus,
}

/// <summary>The text form of a <see cref="MetricRegistry"/>.</summary>
public static class MetricExposition
{
    public const string PlainContentType = "text/plain; charset=utf-8";
    public const string OpenMetricsContentType = "application/openmetrics-text;charset=utf-8;version=1.0.0";
    public const string PrometheusContentType = "text/plain; version=0.0.4; charset=utf-8";

    public static string Write(MetricRegistry registry, MetricFormat format = MetricFormat.OpenMetrics)
    {
        var writer = new MetricTextWriter(format);
        foreach (var family in registry.Families) family.Write(writer);
        return writer.Complete();
    }
}

/// <summary>Writes families and samples; text is escaped as OpenMetrics §ABNF demands.</summary>
internal sealed class MetricTextWriter(MetricFormat format) : IMetricWriter
{
    private const string TotalSuffix = "_total";
    private readonly StringBuilder _text = new();

    private MetricFamily _family = null!;
    private string _name = "";   // of a sample
    private string[] _bucketLabels = [];

    public void Begin(MetricFamily family, MetricKind kind)
    {
        var name = format == MetricFormat.OpenMetrics && kind == MetricKind.Counter ? BaseName(family.Name) : family.Name;
        (_family, _name) = (family, kind == MetricKind.Counter && format == MetricFormat.OpenMetrics ? name + TotalSuffix : family.Name);
        if (kind == MetricKind.Histogram) _bucketLabels = ["le", .. family.Labels];
        _text.Append("# HELP ").Append(name).Append(' ');
        Escape(family.Help, quotes: false);
        _text.Append("\n# TYPE ").Append(name).Append(' ').Append(kind switch { MetricKind.Counter => "counter", MetricKind.Gauge => "gauge", _ => "histogram" }).Append('\n');
        if (family.Unit is not null && format == MetricFormat.OpenMetrics) _text.Append("# UNIT ").Append(name).Append(' ').Append(family.Unit).Append('\n');
    }

    public void Number(IReadOnlyList<string> values, double value) => Sample(_name, _family.Labels, values, value);

    public void Distribution(IReadOnlyList<string> values, double[] bounds, long[] counts, double sum)
    {
        Sample(_name + "_sum", _family.Labels, values, sum);
        Sample(_name + "_count", _family.Labels, values, counts.Sum());
        long cumulative = 0;
        for (var i = 0; i < counts.Length; i++)
        {
            cumulative += counts[i];
            Sample(_name + "_bucket", _bucketLabels, [i < bounds.Length ? Bound(bounds[i]) : "+Inf", .. values], cumulative);
        }
    }

    private void Sample(string name, IReadOnlyList<string> labels, IReadOnlyList<string> values, double value)
    {
        _text.Append(name);
        for (var i = 0; i < labels.Count; i++)
        {
            _text.Append(i == 0 ? '{' : ',').Append(labels[i]).Append("=\"");
            Escape(values[i], quotes: true);
            _text.Append('"');
        }
        if (labels.Count > 0) _text.Append('}');
        _text.Append(' ').Append(value.ToString("R", CultureInfo.InvariantCulture)).Append('\n');
    }

    private static string Bound(double value)
    {
        var text = value.ToString("R", CultureInfo.InvariantCulture);
        return text.Contains('.') || text.Contains('E') ? text : text + ".0";
    }

    internal string Complete()
    {
        if (format == MetricFormat.OpenMetrics) _text.Append("# EOF\n");
        return _text.ToString();
    }

    private static string BaseName(string name) => name.EndsWith(TotalSuffix, StringComparison.Ordinal) ? name[..^TotalSuffix.Length] : name;

    private void Escape(string text, bool quotes)
    {
        foreach (var c in text)
        {
            if (c == '\\') _text.Append("\\\\");
            else if (c == '\n') _text.Append("\\n");
            else if (c == '"' && quotes) _text.Append("\\\"");
            else _text.Append(c);
        }
    }
}
