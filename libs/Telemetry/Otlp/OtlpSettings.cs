using System.Globalization;

namespace AmbientMesh.Telemetry.Otlp;

/// <summary>How a signal reaches the collector.</summary>
public enum OtlpProtocol
{
    /// <summary>HTTP with protobuf bodies, usually port 4318.</summary>
    HttpProtobuf,
    /// <summary>gRPC, usually port 4317.</summary>
    Grpc,
}

/// <summary>Export of traces and metrics, from OpenTelemetry's own environment variables. Source: <c>opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables</c>.</summary>
public sealed record OtlpSettings
{
    /// <summary>Full address for spans; null exports none.</summary>
    public Uri? Traces { get; init; }

    /// <summary>Full address for metrics; null exports none.</summary>
    public Uri? Metrics { get; init; }
    public OtlpProtocol Protocol { get; init; }

    /// <summary>OTEL_EXPORTER_OTLP_HEADERS: sent with every request, e.g. a token.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Headers { get; init; } = [];

    /// <summary>OTEL_EXPORTER_OTLP_TIMEOUT.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>OTEL_METRIC_EXPORT_INTERVAL.</summary>
    public TimeSpan MetricInterval { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>OTEL_BSP_SCHEDULE_DELAY: the longest a span waits for others.</summary>
    public TimeSpan SpanDelay { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>OTEL_BSP_MAX_QUEUE_SIZE: spans kept at most; further ones are dropped and counted.</summary>
    public int SpanQueue { get; init; } = 2048;

    /// <summary>OTEL_BSP_MAX_EXPORT_BATCH_SIZE.</summary>
    public int SpanBatch { get; init; } = 512;
    public TraceSampling Sampling { get; init; } = TraceSampling.Off;

    /// <summary>OTEL_SERVICE_NAME; null takes the part's own name.</summary>
    public string? ServiceName { get; init; }

    /// <summary>OTEL_RESOURCE_ATTRIBUTES.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Resource { get; init; } = [];

    public bool IsOn => Traces is not null || Metrics is not null;

    /// <summary>Off unless an endpoint is set; <paramref name="problems"/> has every problem, each naming its variable.</summary>
    public static OtlpSettings Read(Func<string, string?> environment, out IReadOnlyList<string> problems)
    {
        var found = new List<string>();
        problems = found;
        string? Value(string name) => environment(name) is { Length: > 0 } value ? value : null;
        if (Value("OTEL_SDK_DISABLED")?.Equals("true", StringComparison.OrdinalIgnoreCase) == true) return new OtlpSettings();

        var protocol = Value("OTEL_EXPORTER_OTLP_PROTOCOL") switch
        {
            null or "http/protobuf" => OtlpProtocol.HttpProtobuf,
            "grpc" => OtlpProtocol.Grpc,
            var other => Refuse(OtlpProtocol.HttpProtobuf, $"OTEL_EXPORTER_OTLP_PROTOCOL is '{other}'; expected http/protobuf or grpc."),
        };
        var settings = new OtlpSettings
        {
            Protocol = protocol,
            Traces = Exports("TRACES") ? Address("TRACES", "v1/traces", "opentelemetry.proto.collector.trace.v1.TraceService/Export") : null,
            Metrics = Exports("METRICS") ? Address("METRICS", "v1/metrics", "opentelemetry.proto.collector.metrics.v1.MetricsService/Export") : null,
            Headers = Pairs("OTEL_EXPORTER_OTLP_HEADERS"),
            Timeout = Milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT", TimeSpan.FromSeconds(10)),
            MetricInterval = Milliseconds("OTEL_METRIC_EXPORT_INTERVAL", TimeSpan.FromSeconds(60)),
            SpanDelay = Milliseconds("OTEL_BSP_SCHEDULE_DELAY", TimeSpan.FromSeconds(5)),
            SpanQueue = Count("OTEL_BSP_MAX_QUEUE_SIZE", 2048, 100_000),
            SpanBatch = Count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, 10_000),
            ServiceName = Value("OTEL_SERVICE_NAME"),
            Resource = Pairs("OTEL_RESOURCE_ATTRIBUTES"),
        };
        if (settings.Traces is null) return settings;
        var sampling = TraceSampling.Parse(Value("OTEL_TRACES_SAMPLER"), Value("OTEL_TRACES_SAMPLER_ARG"));
        if (sampling is null) found.Add($"OTEL_TRACES_SAMPLER is '{Value("OTEL_TRACES_SAMPLER")}' with argument '{Value("OTEL_TRACES_SAMPLER_ARG")}'; expected [parentbased_]always_on, always_off or traceidratio with a ratio from 0 to 1.");
        return settings with { Sampling = sampling ?? TraceSampling.Off };

        T Refuse<T>(T otherwise, string problem)
        {
            if (!found.Contains(problem)) found.Add(problem);
            return otherwise;
        }

        bool Exports(string signal) => Value($"OTEL_{signal}_EXPORTER") switch
        {
            null or "otlp" => true,
            "none" => false,
            var other => Refuse(false, $"OTEL_{signal}_EXPORTER is '{other}'; expected otlp or none."),
        };

        Uri? Address(string signal, string httpPath, string grpcPath)
        {
            var own = Value($"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT");
            if ((own ?? Value("OTEL_EXPORTER_OTLP_ENDPOINT")) is not { } text) return null;
            if (!Uri.TryCreate(text, UriKind.Absolute, out var uri) || uri.Scheme is not ("http" or "https"))
                return Refuse<Uri?>(null, $"OTEL_EXPORTER_OTLP_{(own is null ? "" : signal + "_")}ENDPOINT is '{text}'; expected http://host:port or https://host:port.");
            if (protocol == OtlpProtocol.Grpc) return new Uri(uri, "/" + grpcPath);
            return own is not null ? uri : new Uri(uri.ToString().TrimEnd('/') + "/" + httpPath);
        }

        IReadOnlyList<KeyValuePair<string, string>> Pairs(string name)
        {
            var pairs = new List<KeyValuePair<string, string>>();
            foreach (var part in Value(name)?.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) ?? [])
            {
                var equals = part.IndexOf('=');
                if (equals <= 0) found.Add($"{name} has '{part}'; expected name=value pairs parted by commas.");
                else pairs.Add(new(part[..equals].Trim(), Uri.UnescapeDataString(part[(equals + 1)..].Trim())));
            }
            return pairs.ToArray();
        }

        TimeSpan Milliseconds(string name, TimeSpan otherwise) => Value(name) is not { } text ? otherwise
            : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value > 0 ? TimeSpan.FromMilliseconds(value)
            : Refuse(otherwise, $"{name} is '{text}'; expected milliseconds, at least 1.");

        int Count(string name, int otherwise, int most) => Value(name) is not { } text ? otherwise
            : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value >= 1 && value <= most ? value
            : Refuse(otherwise, $"{name} is '{text}'; expected a number from 1 to {most}.");
    }
}
