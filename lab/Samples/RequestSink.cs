using System.Collections.Concurrent;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Samples;

/// <summary>Takes every POST, as a telemetry collector does, and tells on GET what was posted to that path: a JSON list of base64 bodies, oldest first.</summary>
internal static class RequestSink
{
    private const int KeptBodies = 500, MaxBodyBytes = 4 * 1024 * 1024;

    public static async Task<int> RunAsync(int port, CancellationToken stop)
    {
        var posted = new ConcurrentQueue<(string Path, byte[] Body)>();
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Limits.MaxRequestBodySize = MaxBodyBytes;
            kestrel.ListenAnyIP(port, listen => listen.Protocols = HttpProtocols.Http1);
        });
        await using var app = builder.Build();
        app.MapPost("/{**path}", async context =>
        {
            using var body = new MemoryStream();
            await context.Request.Body.CopyToAsync(body, context.RequestAborted);
            posted.Enqueue((context.Request.Path, body.ToArray()));
            while (posted.Count > KeptBodies) posted.TryDequeue(out _);
        });
        app.MapGet("/{**path}", async context =>
        {
            context.Response.ContentType = "application/json";
            await using var json = new Utf8JsonWriter(context.Response.BodyWriter);
            json.WriteStartArray();
            foreach (var (_, body) in posted.Where(p => p.Path == context.Request.Path)) json.WriteBase64StringValue(body);
            json.WriteEndArray();
        });
        await app.StartAsync(CancellationToken.None);
        Console.WriteLine($"collecting as {Environment.MachineName}: HTTP on {port}");
        await app.WaitForShutdownAsync(stop);
        return 0;
    }
}
