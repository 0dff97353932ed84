using AmbientMesh.ControlPlane.Certificates;
using AmbientMesh.Telemetry;
using Microsoft.AspNetCore.Http;

namespace AmbientMesh.ControlPlane.Serving;

/// <summary>The plain HTTP answers of ports 8080 and 15014: /ready, /metrics, /version and, for those allowed, /debug. GET only.</summary>
internal sealed class HttpPages(
    Func<IReadOnlyList<string>> pending, MetricRegistry metrics, DebugPages debug, Func<string, CancellationToken, Task<Authentication>> authenticate, string systemNamespace)
{
    private const string DebugRoot = "/debug";
    private static readonly string Version = typeof(HttpPages).Assembly.GetName().Version?.ToString(3) ?? "unknown";

    public async Task ServeAsync(HttpContext http)
    {
        var path = http.Request.Path.Value ?? "/";
        if (http.Request.Method is not ("GET" or "HEAD")) await AnswerAsync(http, 405, "only GET is answered here\n");
        else if (path == "/ready") await ReadyAsync(http);
        else if (path is "/metrics" or "/stats/prometheus") await AnswerAsync(http, 200, MetricExposition.Write(metrics, MetricFormat.Prometheus), MetricExposition.PrometheusContentType);
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
        var body = await debug.RenderAsync(page, Single(query, "type"), [.. query["name"].OfType<string>().Where(name => name.Length > 0)], http.RequestAborted);
        if (body is null) await AnswerAsync(http, 404, $"no such page or type; see {DebugRoot}\n");
        else await AnswerAsync(http, 200, body, "application/json");
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
