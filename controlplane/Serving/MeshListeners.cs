using System.Net;
using System.Net.Security;
using AmbientMesh.ControlPlane.Settings;
using AmbientMesh.Rpc;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Serving;

/// <summary>What is answered where.</summary>
public sealed record MeshServices
{
    /// <summary>The TLS port's certificate; asked at every connection.</summary>
    public required Func<SslStreamCertificateContext> Certificate { get; init; }
    /// <summary>Makes the judge of a client's certificate on the TLS port; a client need not show one.</summary>
    public required Func<ConnectionContext, RemoteCertificateValidationCallback> ClientCertificate { get; init; }
    /// <summary>gRPC methods of the TLS port.</summary>
    public required Action<IEndpointRouteBuilder> MapSecure { get; init; }
    /// <summary>gRPC methods of the plaintext port.</summary>
    public required Action<IEndpointRouteBuilder> MapPlaintext { get; init; }
    /// <summary>Plain HTTP pages.</summary>
    public required RequestDelegate Pages { get; init; }
}

/// <summary>The control plane's ports (reference 2.4): plain HTTP on 8080 and 15014, gRPC on 15010, gRPC over TLS on 15012.</summary>
public sealed class MeshListeners : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly ControlPlaneSettings _settings;

    private MeshListeners(WebApplication app, ControlPlaneSettings settings) => (_app, _settings) = (app, settings);

    public int HttpPort { get; private set; }
    /// <summary>0 when plaintext discovery is not served.</summary>
    public int PlaintextGrpcPort { get; private set; }
    public int SecureGrpcPort { get; private set; }
    public int MonitoringPort { get; private set; }

    /// <exception cref="IOException">A port cannot be opened; the message names it and its flag.</exception>
    public static async Task<MeshListeners> StartAsync(ControlPlaneSettings settings, MeshServices services, ILoggerFactory logs, CancellationToken cancellationToken)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddRoutingCore();
        builder.Services.AddSingleton(logs);
        builder.Services.AddSingleton<IHostLifetime, NoLifetime>();
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel => Listen(kestrel, settings, services));
        var app = builder.Build();
        // HTTP/2 is spoken on the gRPC ports only, HTTP/1.1 on the others only; the Host header has no say.
        app.MapWhen(http => HttpProtocol.IsHttp2(http.Request.Protocol) && http.Request.IsHttps, branch => Rpcs(branch, services.MapSecure));
        app.MapWhen(http => HttpProtocol.IsHttp2(http.Request.Protocol), branch => Rpcs(branch, services.MapPlaintext));
        app.Run(services.Pages);
        var listeners = new MeshListeners(app, settings);
        try
        {
            await app.StartAsync(cancellationToken);
        }
        catch (Exception problem) when (problem is IOException or System.Net.Sockets.SocketException)
        {
            await app.DisposeAsync();
            throw new IOException(Explain(settings, problem), problem);
        }
        listeners.ReadPorts();
        return listeners;
    }

    /// <summary>Stops accepting and gives what is under way <paramref name="grace"/> to end.</summary>
    public async Task StopAsync(TimeSpan grace)
    {
        using var limit = new CancellationTokenSource(grace);
        await _app.StopAsync(limit.Token);
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    private static void Rpcs(IApplicationBuilder branch, Action<IEndpointRouteBuilder> map)
    {
        branch.UseRouting();
        branch.UseEndpoints(endpoints =>
        {
            map(endpoints);
            endpoints.MapRpcUnknown();
        });
    }

    private static void Listen(KestrelServerOptions kestrel, ControlPlaneSettings settings, MeshServices services)
    {
        kestrel.UseRpcLimits();
        kestrel.Limits.MaxConcurrentConnections = 100_000;
        kestrel.Limits.MaxRequestHeadersTotalSize = 32 * 1024;
        Listen(kestrel, settings.Http, listen => listen.Protocols = HttpProtocols.Http1);
        Listen(kestrel, settings.Monitoring, listen => listen.Protocols = HttpProtocols.Http1);
        if (settings.PlaintextGrpc is { } plaintext) Listen(kestrel, plaintext, listen => listen.Protocols = HttpProtocols.Http2);
        Listen(kestrel, settings.SecureGrpc, listen => listen.UseRpcTls(services.Certificate, services.ClientCertificate));
    }

    private static void Listen(KestrelServerOptions kestrel, ListenAddress address, Action<ListenOptions> configure)
    {
        if (address.Host != "*") kestrel.Listen(IPAddress.Parse(address.Host), address.Port, configure);
        else if (address.Port != 0) kestrel.ListenAnyIP(address.Port, configure);
        else kestrel.Listen(IPAddress.IPv6Any, 0, configure);
    }

    // Kestrel lists its addresses in the order in which they were asked for.
    private void ReadPorts()
    {
        var addresses = _app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses;
        var ports = new Queue<int>(addresses.Select(a => BindingAddress.Parse(a).Port));
        HttpPort = ports.Dequeue();
        MonitoringPort = ports.Dequeue();
        if (_settings.PlaintextGrpc is not null) PlaintextGrpcPort = ports.Dequeue();
        SecureGrpcPort = ports.Dequeue();
    }

    private static string Explain(ControlPlaneSettings settings, Exception problem)
    {
        var reason = problem.GetBaseException() is AddressInUseException or System.Net.Sockets.SocketException { SocketErrorCode: System.Net.Sockets.SocketError.AddressAlreadyInUse }
            ? "it is already in use by another process"
            : problem.GetBaseException().Message;
        foreach (var (flag, address) in Flags(settings))
            if (address is not null && problem.Message.Contains($":{address.Port}", StringComparison.Ordinal))
                return $"Port {address.Port} (--{flag}={address}) cannot be opened: {reason}.";
        return $"A port cannot be opened: {problem.Message}";
    }

    private static IEnumerable<(string Flag, ListenAddress? Address)> Flags(ControlPlaneSettings settings) =>
        [("httpAddr", settings.Http), ("monitoringAddr", settings.Monitoring), ("grpcAddr", settings.PlaintextGrpc), ("secureGRPCAddr", settings.SecureGrpc)];

    /// <summary>Signals are the program's business, not the web host's.</summary>
    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;
        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
