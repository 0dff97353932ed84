using System.Collections.Concurrent;
using System.Net;
using System.Text;
using System.Threading.Channels;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Kubernetes.Tests;

/// <summary>A request as it arrived.</summary>
public sealed record SeenRequest(string Method, string Path, string Query, string Body, IReadOnlyDictionary<string, string> Headers);

/// <summary>An HTTP server on loopback which answers as the test says.</summary>
public sealed class LoopbackApi : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly Channel<SeenRequest> _seen = Channel.CreateUnbounded<SeenRequest>();

    private LoopbackApi(WebApplication app) => _app = app;

    public Uri Address => new(_app.Urls.First());

    /// <summary>Requests in the order in which they arrived.</summary>
    public ChannelReader<SeenRequest> Seen => _seen.Reader;

    public ConcurrentQueue<SeenRequest> All { get; } = [];

    public static async Task<LoopbackApi> StartAsync(Func<SeenRequest, HttpContext, Task> answer, Action<WebApplicationBuilder>? configure = null)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Services.Configure<Microsoft.AspNetCore.Server.Kestrel.Core.KestrelServerOptions>(o => o.Limits.MaxRequestBodySize = 64 << 20);
        if (configure is null) builder.WebHost.ConfigureKestrel(k => k.Listen(IPAddress.Loopback, 0));
        else configure(builder);
        var app = builder.Build();
        var api = new LoopbackApi(app);
        app.Run(async context =>
        {
            using var reader = new StreamReader(context.Request.Body);
            var body = await reader.ReadToEndAsync(context.RequestAborted);
            var headers = context.Request.Headers.ToDictionary(h => h.Key, h => h.Value.ToString(), StringComparer.OrdinalIgnoreCase);
            var request = new SeenRequest(context.Request.Method, context.Request.Path, context.Request.QueryString.Value ?? "", body, headers);
            api.All.Enqueue(request);
            api._seen.Writer.TryWrite(request);
            await answer(request, context);
        });
        await app.StartAsync(Patience.Token);
        return api;
    }

    public KubernetesClient Client(TimeProvider? clock = null, BearerToken? token = null) =>
        new(new KubernetesConnection { Server = Address, Token = token }, new KubernetesClientOptions { Name = "tests", Clock = clock ?? TimeProvider.System });

    public async ValueTask DisposeAsync()
    {
        using var now = new CancellationTokenSource();
        await now.CancelAsync();
        await _app.StopAsync(now.Token);
        await _app.DisposeAsync();
    }
}

public static class Answers
{
    public static async Task JsonAsync(this HttpContext context, int code, string json)
    {
        context.Response.StatusCode = code;
        context.Response.ContentType = "application/json";
        await context.Response.Body.WriteAsync(Encoding.UTF8.GetBytes(json), context.RequestAborted);
    }

    public static Task StatusAsync(this HttpContext context, int code, string reason, string message, string details = "{}") =>
        context.JsonAsync(code, $$"""{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"{{message}}","reason":"{{reason}}","details":{{details}},"code":{{code}}}""");

    /// <summary>Writes watch lines as they come until the channel is completed.</summary>
    public static async Task StreamAsync(this HttpContext context, ChannelReader<string> lines)
    {
        context.Response.ContentType = "application/json";
        await context.Response.Body.FlushAsync(context.RequestAborted);
        await foreach (var line in lines.ReadAllAsync(context.RequestAborted))
        {
            await context.Response.Body.WriteAsync(Encoding.UTF8.GetBytes(line + "\n"), context.RequestAborted);
            await context.Response.Body.FlushAsync(context.RequestAborted);
        }
    }
}
