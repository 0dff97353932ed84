using System.Net;
using System.Net.Sockets;
using AmbientMesh.Hbone;
using AmbientMesh.Identity;
using AmbientMesh.Model;
using AmbientMesh.Ztunnel.Connections;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>A waypoint in a pod of its own: it takes tunnels on port 15008 and carries each connection on to one workload, through a tunnel under its own identity.</summary>
public sealed class WaypointStandIn : IAsyncDisposable
{
    private readonly PodNamespace _pod;
    private readonly IPEndPoint _backend;
    private readonly SpiffeId _backendIdentity;
    private readonly TlsCredentials _own;
    private readonly Listener _listener;
    private readonly CancellationTokenSource _closing = new();
    private readonly Lock _gate = new();
    private readonly List<string> _asked = [];

    private WaypointStandIn(ControlPlaneStandIn plane, PodNamespace pod, PodNamespace backend, int port)
    {
        (_pod, _backend, _backendIdentity) = (pod, TestMesh.At(backend, port), new SpiffeId("cluster.local", "default", backend.Name));
        _own = TlsCredentials.Of(plane.Authority.IssueSvid(new SpiffeId("cluster.local", "default", pod.Name)), SvidRules.Strict, TimeProvider.System);
        _listener = new Listener(Bind(pod), ServeAsync, TimeProvider.System, Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance);
    }

    /// <summary>What it was asked for and by whom, in order: <c>10.1.0.33:80 spiffe://…</c>.</summary>
    public IReadOnlyList<string> Asked
    {
        get { lock (_gate) return [.. _asked]; }
    }

    /// <summary>Starts it; every connection it takes goes on to <paramref name="backend"/>.</summary>
    public static WaypointStandIn Start(ControlPlaneStandIn plane, PodNamespace pod, PodNamespace backend, int port) => new(plane, pod, backend, port);

    public async ValueTask DisposeAsync()
    {
        _listener.Close();
        await _closing.CancelAsync();   // tunnels are kept by their clients
        await _listener.Completion;
        _closing.Dispose();
    }

    private static Socket Bind(PodNamespace pod) => pod.Namespace.Run(() =>
    {
        var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Any, 15008));
        listener.Listen();
        return listener;
    });

    private async Task ServeAsync(Socket accepted)
    {
        var tls = await TlsHandshake.AcceptAsync(new SocketTransport(accepted), _own, Patience.Token);
        await using var tunnel = HboneServerConnection.Start(tls, new HboneOptions(), tls.Peer);
        try
        {
            await foreach (var request in tunnel.RequestsAsync(_closing.Token)) _ = CarryAsync(request);
        }
        catch (OperationCanceledException)
        {
            // Disposed.
        }
    }

    private async Task CarryAsync(HboneRequest request)
    {
        await Task.Yield();
        lock (_gate) _asked.Add($"{request.Authority} {request.Peer!.Identity}");
        var socket = (await PodClient.ConnectAsync(_pod, new IPEndPoint(_backend.Address, 15008))).Client;
        var tls = await TlsHandshake.ConnectAsync(new SocketTransport(socket), _own, [_backendIdentity], Patience.Token);
        await using var tunnel = HboneClientConnection.Start(tls, new HboneOptions(), tls.Peer);
        switch (await tunnel.ConnectAsync(HboneAuthority.Of(_backend), [], Patience.Token))
        {
            case ConnectOutcome.Established { Stream: var upstream }:
                await using (upstream)
                {
                    await using var downstream = request.Accept();
                    await new ByteRelay(downstream, upstream).RunAsync(Patience.Token);
                }
                break;
            case ConnectOutcome.Rejected { Status: var status }:
                request.Reject(status);
                break;
            default:
                request.Reject(503);
                break;
        }
    }
}
