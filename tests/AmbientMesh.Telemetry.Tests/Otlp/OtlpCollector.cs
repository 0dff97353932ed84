using System.Threading.Channels;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Telemetry.Tests.Otlp;

/// <summary>A collector that keeps what it is sent, over HTTP or gRPC.</summary>
internal sealed class OtlpCollector : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly Channel<ExportTraceRequest> _traces = Channel.CreateUnbounded<ExportTraceRequest>();
    private readonly Channel<ExportMetricsRequest> _metrics = Channel.CreateUnbounded<ExportMetricsRequest>();

    private OtlpCollector(bool grpc)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(System.Net.IPAddress.Loopback, 0, listen => listen.Protocols = grpc ? HttpProtocols.Http2 : HttpProtocols.Http1));
        _app = builder.Build();
        _app.Run(grpc ? GrpcAsync : HttpAsync);
    }

    /// <summary>What is answered to the next requests; 200 by default.</summary>
    public int HttpStatus { get; set; } = 200;

    /// <summary>Requests over HTTP are not answered.</summary>
    public bool IsSilent { get; init; }

    /// <summary>What is sent there over HTTP is answered with 400.</summary>
    public string RefusedPath { get; set; } = "";
    public string? LastToken { get; private set; }
    public int Requests { get; private set; }
    public Uri Address => new(_app.Urls.Single());

    public static async Task<OtlpCollector> StartAsync(bool grpc = false, bool isSilent = false)
    {
        var collector = new OtlpCollector(grpc) { IsSilent = isSilent };
        await collector._app.StartAsync(Patience.Token);
        return collector;
    }

    public async Task<ExportTraceRequest> TracesAsync() => await _traces.Reader.ReadAsync(Patience.Token);
    public async Task<ExportMetricsRequest> MetricsAsync() => await _metrics.Reader.ReadAsync(Patience.Token);

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    private async Task HttpAsync(HttpContext http)
    {
        var body = await BodyAsync(http);
        if (IsSilent)
        {
            Keep(http.Request.Path, body);
            await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, http.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            return;
        }
        http.Response.StatusCode = http.Request.ContentType == "application/x-protobuf" ? http.Request.Path == RefusedPath ? 400 : HttpStatus : 415;
        if (http.Response.StatusCode == 200) Keep(http.Request.Path, body);
    }

    private async Task GrpcAsync(HttpContext http)
    {
        var body = await BodyAsync(http);
        Assert.Equal((byte)0, body[0]);
        Assert.Equal(body.Length - 5, System.Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(body.AsSpan(1)));
        Assert.Equal("trailers", http.Request.Headers.TE);
        http.Response.ContentType = "application/grpc";
        Keep(http.Request.Path, body[5..]);
        await http.Response.Body.WriteAsync(new byte[5], http.RequestAborted);
        http.Response.AppendTrailer("grpc-status", HttpStatus == 200 ? "0" : "14");
    }

    private async Task<byte[]> BodyAsync(HttpContext http)
    {
        Requests++;
        LastToken = http.Request.Headers["x-token"];
        using var body = new MemoryStream();
        await http.Request.Body.CopyToAsync(body, http.RequestAborted);
        return body.ToArray();
    }

    private void Keep(string path, byte[] body)
    {
        if (path is "/v1/traces" or "/opentelemetry.proto.collector.trace.v1.TraceService/Export") _traces.Writer.TryWrite(ExportTraceRequest.Parser.ParseFrom(body));
        else if (path is "/v1/metrics" or "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export") _metrics.Writer.TryWrite(ExportMetricsRequest.Parser.ParseFrom(body));
        else throw new InvalidOperationException($"nothing is sent to {path}");
    }
}
