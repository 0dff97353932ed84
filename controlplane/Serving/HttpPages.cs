using System.Globalization;
using System.Text.Json;
using AmbientMesh.ControlPlane.Certificates;
using AmbientMesh.ControlPlane.Coverage;
using AmbientMesh.Telemetry;
using AmbientMesh.Telemetry.Coverage;
using Microsoft.AspNetCore.Http;

namespace AmbientMesh.ControlPlane.Serving;

/// <summary>The plain HTTP answers of ports 8080 and 15014: /ready, /metrics, /version and, for those allowed, /debug. GET only.</summary>
internal sealed class HttpPages(
    Func<IReadOnlyList<string>> pending, MetricRegistry metrics, DebugPages debug, CoverageWatch coverage, Func<string, CancellationToken, Task<Authentication>> authenticate, string systemNamespace)
{
    private const string DebugRoot = "/debug";
    private const int DefaultPairs = 500;
    private const int MaxPairs = 20_000;
    internal static readonly TimeSpan RefreshLimit = TimeSpan.FromSeconds(8);   // less than whoever asks waits for an answer
    private static readonly string Version = typeof(HttpPages).Assembly.GetName().Version?.ToString(3) ?? "unknown";

    public async Task ServeAsync(HttpContext http)
    {
        var path = http.Request.Path.Value ?? "/";
        if (http.Request.Method is not ("GET" or "HEAD")) await AnswerAsync(http, 405, "only GET is answered here\n");
        else if (path == "/ready") await ReadyAsync(http);
        else if (path is "/metrics" or "/stats/prometheus") await MetricsAsync(http);
        else if (path == "/version") await AnswerAsync(http, 200, Version + "\n");
        else if (path == DebugRoot || path.StartsWith(DebugRoot + "/", StringComparison.Ordinal)) await DebugAsync(http, path[DebugRoot.Length..].Trim('/'));
        else await AnswerAsync(http, 404, "no such page; try /ready, /metrics, /version or /debug\n");
    }

    private Task ReadyAsync(HttpContext http) =>
        pending() is { Count: > 0 } waiting ? AnswerAsync(http, 503, $"not ready, pending: {string.Join(", ", waiting)}\n") : AnswerAsync(http, 200, "ready\n");

    private async Task DebugAsync(HttpContext http, string page)
    {
        if (await DebugAccess.RefusalAsync(http.Connection.RemoteIpAddress, http.Request.Headers.Authorization, authenticate, systemNamespace, http.RequestAborted) is var (status, reason))
        {
            await AnswerAsync(http, status, reason + "\n");
            return;
        }
        var query = http.Request.Query;
        if (page == "coverage")
        {
            await CoverageAsync(http, Single(query, "limit"), refresh: query.ContainsKey("refresh"));
            return;
        }
        var body = await debug.RenderAsync(page, Single(query, "type"), [.. query["name"].OfType<string>().Where(name => name.Length > 0)], http.RequestAborted);
        if (body is null) await AnswerAsync(http, 404, $"no such page or type; see {DebugRoot}\n");
        else await AnswerAsync(http, 200, body, "application/json");
    }

    private async Task CoverageAsync(HttpContext http, string? limitText, bool refresh)
    {
        var limit = DefaultPairs;
        if (limitText is not null && !(int.TryParse(limitText, NumberStyles.None, CultureInfo.InvariantCulture, out limit) && limit <= MaxPairs))
        {
            await AnswerAsync(http, 400, $"limit: expected 0 to {MaxPairs}\n");
            return;
        }
        if (refresh) await coverage.RefreshAsync(RefreshLimit, http.RequestAborted);
        await AnswerAsync(http, 200, JsonSerializer.SerializeToUtf8Bytes(coverage.Report(limit), CoverageJson.Default.MeshCoverage), "application/json");
    }

    private Task MetricsAsync(HttpContext http)
    {
        var (body, encoding) = BodyEncoding.Encode(System.Text.Encoding.UTF8.GetBytes(MetricExposition.Write(metrics, MetricFormat.Prometheus)), http.Request.Headers.AcceptEncoding);
        http.Response.Headers.Vary = "accept-encoding";
        if (encoding is not null) http.Response.Headers.ContentEncoding = encoding;
        return AnswerAsync(http, 200, body, MetricExposition.PrometheusContentType);
    }

    private static string? Single(IQueryCollection query, string name) => query.TryGetValue(name, out var values) && values.Count > 0 ? values[0] : null;

    private static Task AnswerAsync(HttpContext http, int status, string text, string type = "text/plain; charset=utf-8") =>
        AnswerAsync(http, status, System.Text.Encoding.UTF8.GetBytes(text), type);

    private static async Task AnswerAsync(HttpContext http, int status, byte[] body, string type)
    {
        http.Response.StatusCode = status;
        http.Response.ContentType = type;
        http.Response.ContentLength = body.Length;
        http.Response.Headers.XContentTypeOptions = "nosniff";
        if (http.Request.Method != "HEAD") await http.Response.Body.WriteAsync(body, http.RequestAborted);
    }
}
