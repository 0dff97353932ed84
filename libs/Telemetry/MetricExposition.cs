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
internal sealed class MetricTextWriter(MetricFormat format)
{
    private const string TotalSuffix = "_total";
    private readonly StringBuilder _text = new();

    internal string CounterName(string name) => format == MetricFormat.Prometheus ? name : BaseName(name) + TotalSuffix;

    internal void Header(MetricFamily family, string type)
    {
        var name = format == MetricFormat.OpenMetrics && type == "counter" ? BaseName(family.Name) : family.Name;
        _text.Append("# HELP ").Append(name).Append(' ');
        Escape(family.Help, quotes: false);
        _text.Append("\n# TYPE ").Append(name).Append(' ').Append(type).Append('\n');
        if (family.Unit is not null && format == MetricFormat.OpenMetrics) _text.Append("# UNIT ").Append(name).Append(' ').Append(family.Unit).Append('\n');
    }

    internal void Sample(string name, IReadOnlyList<string> labels, IReadOnlyList<string> values, double value)
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

    internal static string Bound(double value)
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
