using System.Net.Sockets;
using AmbientMesh.Hbone;
using AmbientMesh.Identity;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.Dns;
using AmbientMesh.Ztunnel.Inbound;
using AmbientMesh.Ztunnel.Outbound;
using AmbientMesh.Ztunnel.Socks;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.InPod;

/// <summary>The proxy of one pod: its listeners and the DNS proxy inside its namespace, its tunnels and its connections.</summary>
public sealed class PodProxy : IPodProxy, IAsyncDisposable
{
    private static readonly TimeSpan StopTimeout = TimeSpan.FromSeconds(5);

    private readonly HbonePool _pool;
    private readonly HbonePool? _socksPool;
    private readonly HboneProxy _hbone;
    private readonly List<Listener> _listeners = [];
    private readonly ILogger _log;
    private DnsProxy? _dns;

    private PodProxy(PodContext pod)
    {
        Context = pod;
        _log = pod.Services.Loggers.CreateLogger("ztunnel::proxy");
        var services = pod.Services;
        var dialer = new TunnelDialer(pod.Sockets.OpenForTunnel, services.Svids.GetAsync, services.Hbone, services.Pool, services.Clock);
        _pool = PoolOf(dialer);
        if (services.Settings.Socks5) _socksPool = PoolOf(dialer);
        _hbone = new HboneProxy(pod);
    }

    public PodContext Context { get; }

    private IEnumerable<HbonePool> Pools => _socksPool is null ? [_pool] : [_pool, _socksPool];

    // What is dialled while a revocation list comes is asked about it when it is there.
    private HbonePool PoolOf(TunnelDialer dialer) => new(dialer.DialAsync, Context.Services.Pool, Context.Services.Clock, peer => Context.Services.Svids.IsRevoked(peer.Path));

    /// <summary>Opens the listeners of an enrolled pod.</summary>
    /// <exception cref="IOException">A port could not be opened; nothing is left open.</exception>
    public static PodProxy Start(PodContext pod, DnsServices dns)
    {
        var proxy = new PodProxy(pod) { _dns = dns.ServesPods ? DnsProxy.Start(pod, dns) : null };
        try
        {
            var sockets = pod.Sockets;
            proxy.Open(
            [
                (() => sockets.Listen(ProxyPorts.Hbone), "inbound", proxy._hbone.ServeAsync),
                (() => sockets.Listen(ProxyPorts.InboundPlaintext), "inbound plaintext", new PlaintextProxy(pod).ServeAsync),
                (() => sockets.Listen(ProxyPorts.Outbound), "outbound", new OutboundProxy(pod, proxy._pool, dns).ServeAsync),
                .. proxy._socksPool is { } tunnels ? [(() => sockets.ListenOnLoopback(ProxyPorts.Socks5), "socks5", proxy.SocksOver(tunnels, dns).ServeAsync)] : Array.Empty<(Func<Socket>, string, Func<Socket, Task>)>(),
            ]);
            return proxy;
        }
        catch
        {
            _ = proxy._dns?.StopAsync();
            throw;
        }
    }

    /// <summary>Opens only the HBONE listener: for the proxy's own pod, whose ports others reach through it.</summary>
    /// <exception cref="IOException">The port could not be opened.</exception>
    public static PodProxy StartInboundOnly(PodContext pod)
    {
        var proxy = new PodProxy(pod);
        proxy.Open([(() => pod.Sockets.Listen(ProxyPorts.Hbone), "inbound", proxy._hbone.ServeAsync)]);
        return proxy;
    }

    /// <summary>Ends every tunnel whose peer rests on a revoked certificate.</summary>
    public async Task RevokeAsync(RevocationList revoked)
    {
        foreach (var connection in Context.Connections.Open)
            if (revoked.Revokes(connection.PeerPath)) connection.Close(CloseReason.CertificateRevoked(connection.PeerIdentity));
        foreach (var pool in Pools) await pool.DropAsync(peer => revoked.Revokes(peer.Path));
    }

    /// <summary>Stops accepting, lets connections run until they end or <paramref name="deadline"/> passed, then stops.</summary>
    public async Task DrainAsync(TimeSpan deadline)
    {
        foreach (var listener in _listeners) listener.Close();
        _hbone.BeginDrain();
        foreach (var pool in Pools) pool.BeginDrain();
        using var limit = new CancellationTokenSource(deadline, Context.Services.Clock);
        try
        {
            await FinishedAsync(limit.Token).WaitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            _log.Write(LogLevel.Warning, new LogFields("drain duration expired with pending connections, forcefully shutting down") { Span = Context.Span });
        }
        await StopAsync(CloseReason.DrainTimeout);
    }

    // What was accepted may not have begun yet when the listeners close: the listeners' own end counts, not only the open connections.
    private async Task FinishedAsync(CancellationToken limit)
    {
        await Task.WhenAll([_dns?.DrainAsync(limit) ?? Task.CompletedTask, .. _listeners.Select(l => l.Completion)]);
        await Context.Connections.WhenEmptyAsync();
    }

    public Task StopAsync() => StopAsync(CloseReason.Drain);

    public async ValueTask DisposeAsync() => await StopAsync();

    private async Task StopAsync(CloseReason reason)
    {
        foreach (var listener in _listeners) listener.Close();
        Context.Connections.CloseAll(reason);
        // A peer that has stopped reading can keep a tunnel's end waiting for longer than the node agent waits for us.
        var tunnels = Task.WhenAll(Pools.Select(pool => pool.DisposeAsync().AsTask()));
        if (Interlocked.Exchange(ref _dns, null) is { } dns) await dns.StopAsync();
        try
        {
            await Task.WhenAll([tunnels, Context.Connections.WhenEmptyAsync(), .. _listeners.Select(l => l.Completion)]).WaitAsync(StopTimeout, Context.Services.Clock);
            _log.Write(LogLevel.Information, new LogFields("shutdown complete") { Span = Context.Span });
        }
        catch (TimeoutException)
        {
            _log.Write(LogLevel.Warning, new LogFields("connections are still closing; not waited for any longer") { Span = Context.Span });
        }
    }

    private SocksProxy SocksOver(HbonePool tunnels, DnsServices dns) =>
        new(Context, new OutboundProxy(Context, tunnels, dns), _dns is { } answered ? new SocksNames(answered.Answering, Context.Services.Settings.IPv6Enabled) : null);

    private void Open(ReadOnlySpan<(Func<Socket> Listen, string Component, Func<Socket, Task> Serve)> ports)
    {
        var sockets = new List<(Socket Socket, string Component, Func<Socket, Task> Serve)>();
        try
        {
            foreach (var (listen, component, serve) in ports) sockets.Add((listen(), component, serve));
        }
        catch
        {
            foreach (var (socket, _, _) in sockets) socket.Dispose();
            throw;
        }
        foreach (var (socket, component, serve) in sockets)
        {
            var listener = new Listener(socket, serve, Context.Services.Clock, _log, Context.Services.Shortage);
            _listeners.Add(listener);
            _log.Write(LogLevel.Information, new LogFields("listener established", new("address", listener.EndPoint), new("component", component), new("transparent", Context.Sockets.PreservesSource)) { Span = Context.Span });
        }
    }
}
