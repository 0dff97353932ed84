using System.Text;

namespace AmbientMesh.Telemetry;

/// <summary>The answers every deployable gives alike: metrics, readiness, log level.</summary>
public static class StandardEndpoints
{
    private const string LoggingUsage = """

        usage: POST /logging						(To list current level)
        usage: POST /logging?level=<level>				(To change global levels)
        usage: POST /logging?level={mod1}:{level1},{mod2}:{level2}	(To change specific mods' logging level)

        hint: loglevel:	error|warn|info|debug|trace|off
        hint: mod_name:	the module name, i.e. ztunnel::proxy


        """;

    /// <summary><c>/metrics</c> and <c>/stats/prometheus</c>, any method; 404 elsewhere. OpenMetrics text, compressed as asked for.</summary>
    public static HttpEndpointResponse Metrics(HttpEndpointRequest request, MetricRegistry registry, MetricFormat format = MetricFormat.OpenMetrics)
    {
        if (request.Path is not ("/metrics" or "/stats/prometheus")) return HttpEndpointResponse.NotFound;
        var accept = request.Headers.GetValueOrDefault("accept", "");
        var type = format == MetricFormat.Prometheus ? MetricExposition.PrometheusContentType
            : accept.Contains("application/openmetrics-text", StringComparison.OrdinalIgnoreCase) ? MetricExposition.OpenMetricsContentType
            : MetricExposition.PlainContentType;
        var (body, encoding) = BodyEncoding.Encode(Encoding.UTF8.GetBytes(MetricExposition.Write(registry, format)), request.Headers.GetValueOrDefault("accept-encoding"));
        (string, string)[] headers = encoding is null ? [("vary", "accept-encoding")] : [("content-encoding", encoding), ("vary", "accept-encoding")];
        return new HttpEndpointResponse(200, type, body) { Headers = headers };
    }

    /// <summary><c>GET /healthz/ready</c>: 200 <c>ready</c>, or 500 naming what is pending.</summary>
    public static HttpEndpointResponse Ready(HttpEndpointRequest request, Readiness readiness)
    {
        if (request.Path != "/healthz/ready") return HttpEndpointResponse.NotFound;
        if (request.Method != "GET") return HttpEndpointResponse.MethodNotAllowed;
        var pending = readiness.Pending;
        return pending.Count == 0
            ? HttpEndpointResponse.Text(200, "ready\n")
            : HttpEndpointResponse.Text(500, $"not ready, pending: {string.Join(", ", pending)}\n");
    }

    /// <summary><c>POST /logging</c>: shows or changes the levels (L4 reference §11.4).</summary>
    public static HttpEndpointResponse Logging(HttpEndpointRequest request, LogFilter filter)
    {
        if (request.Method != "POST") return HttpEndpointResponse.Text(405, "Invalid HTTP method\n " + LoggingUsage);
        if (request.QueryValue("reset") is not null) filter.Reset();
        var level = request.QueryValue("level");
        if (!string.IsNullOrEmpty(level) && !filter.TryChange(level, out var problem))
            return HttpEndpointResponse.Text(400, $"Invalid level provided: {problem}\n" + LoggingUsage);
        return HttpEndpointResponse.Text(200, $"current log level is {filter}\n");
    }
}
