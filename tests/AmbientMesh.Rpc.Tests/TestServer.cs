using System.Net;
using System.Net.Security;
using AmbientMesh.Protocol.Ca;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Rpc.Tests;

/// <summary>Kestrel on a loopback port with the endpoints a test maps.</summary>
internal sealed class TestServer : IAsyncDisposable
{
    public static readonly RpcMethod<IstioCertificateRequest, IstioCertificateResponse> Echo = new("/test.Echo/Unary", IstioCertificateRequest.Parser, IstioCertificateResponse.Parser);
    public static readonly RpcMethod<IstioCertificateRequest, IstioCertificateResponse> Stream = new("/test.Echo/Stream", IstioCertificateRequest.Parser, IstioCertificateResponse.Parser);

    private readonly WebApplication _app;

    private TestServer(WebApplication app, int port, bool tls)
    {
        _app = app;
        Port = port;
        Address = new Uri($"{(tls ? "https" : "http")}://127.0.0.1:{port}");
    }

    public int Port { get; }
    public Uri Address { get; }

    public static async Task<TestServer> StartAsync(Action<WebApplication> map, Func<SslStreamCertificateContext>? certificate = null, RemoteCertificateValidationCallback? clientCertificate = null, Action<KestrelServerOptions>? limits = null)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddRouting();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.UseRpcLimits();
            limits?.Invoke(kestrel);
            kestrel.Listen(IPAddress.Loopback, 0, listen =>
            {
                if (certificate is null) listen.Protocols = HttpProtocols.Http2;
                else listen.UseRpcTls(certificate, clientCertificate is null ? null : _ => clientCertificate);
            });
        });
        if (certificate is not null) builder.WebHost.UseKestrelHttpsConfiguration();
        builder.Services.Configure<HostOptions>(options => options.ShutdownTimeout = TimeSpan.FromSeconds(1));
        var app = builder.Build();
        app.UseRouting();
        map(app);
        app.MapRpcUnknown();
        await app.StartAsync(Patience.Token);
        var address = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First();
        return new TestServer(app, new Uri(address).Port, certificate is not null);
    }

    /// <summary>Answers a request whose CSR is the wish: <c>status:N:text</c> fails, anything else comes back.</summary>
    public static void MapEcho(WebApplication app, RpcServerOptions? options = null)
    {
        app.MapRpcUnary(Echo, (request, _) => Task.FromResult(Reply(request)), options);
        app.MapRpcDuplex(Stream, async (stream, context) =>
        {
            while (await stream.ReadAsync(context.CancellationToken) is { } request) await stream.WriteAsync(Reply(request), context.CancellationToken);
        }, options);
    }

    public RpcChannel Channel(Func<RpcChannelOptions, RpcChannelOptions>? change = null)
    {
        var options = new RpcChannelOptions { Address = Address };
        return new RpcChannel(change is null ? options : change(options));
    }

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
    }

    private static IstioCertificateResponse Reply(IstioCertificateRequest request)
    {
        if (request.Csr.StartsWith("status:", StringComparison.Ordinal))
        {
            var parts = request.Csr.Split(':', 3);
            throw new RpcException((StatusCode)int.Parse(parts[1]), parts[2]);
        }
        return new IstioCertificateResponse { CertChain = { request.Csr } };
    }
}
