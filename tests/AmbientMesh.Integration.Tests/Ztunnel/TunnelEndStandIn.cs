using System.Net;
using System.Net.Sockets;
using AmbientMesh.Hbone;
using AmbientMesh.Identity;
using AmbientMesh.Model;
using AmbientMesh.Ztunnel.Connections;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>The far end of tunnels to a pod, in the hands of the test: after a good handshake it does with each what the test says.</summary>
public sealed class TunnelEndStandIn : IAsyncDisposable
{
    private readonly TlsCredentials _own;
    private readonly Func<TlsTransport, Task> _serve;
    private readonly Listener _listener;
    private readonly CancellationTokenSource _closing = new();

    private TunnelEndStandIn(ControlPlaneStandIn plane, PodNamespace pod, Func<TlsTransport, Task> serve)
    {
        _serve = serve;
        _own = TlsCredentials.Of(plane.Authority.IssueSvid(new SpiffeId("cluster.local", "default", pod.Name)), SvidRules.Strict, TimeProvider.System);
        _listener = new Listener(Bind(pod), ServeAsync, TimeProvider.System, Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance);
    }

    /// <param name="serve">Ends with the tunnel, which is then closed.</param>
    public static TunnelEndStandIn Start(ControlPlaneStandIn plane, PodNamespace pod, Func<TlsTransport, Task> serve) => new(plane, pod, serve);

    /// <summary>As HTTP/2, each request served by <paramref name="serve"/>.</summary>
    public static TunnelEndStandIn Start(ControlPlaneStandIn plane, PodNamespace pod, HboneOptions options, Action<HboneRequest> serve) => new(plane, pod, async tls =>
    {
        await using var tunnel = HboneServerConnection.Start(tls, options, tls.Peer);
        await foreach (var request in tunnel.RequestsAsync(Patience.Token)) serve(request);
    });

    public async ValueTask DisposeAsync()
    {
        _listener.Close();
        await _closing.CancelAsync();   // tunnels are kept by their clients
        await Patience.Within(_listener.Completion);
        _closing.Dispose();
    }

    private async Task ServeAsync(Socket accepted)
    {
        try
        {
            await using var tls = await TlsHandshake.AcceptAsync(new SocketTransport(accepted), _own, Patience.Token);
            await using var closing = _closing.Token.UnsafeRegister(static t => ((TlsTransport)t!).Abort(), tls);
            await _serve(tls);
        }
        catch (IOException)
        {
            // The proxy under test ended it.
        }
    }

    private static Socket Bind(PodNamespace pod) => pod.Namespace.Run(() =>
    {
        var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Any, 15008));
        listener.Listen();
        return listener;
    });
}
