using System.Net;
using System.Net.Sockets;
using System.Text;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>A server of an application inside a pod.</summary>
public sealed class PodServer : IDisposable
{
    private readonly Socket _socket;
    private readonly List<IPEndPoint> _peers = [];

    private PodServer(Socket socket) => _socket = socket;

    /// <summary>Peers as the application saw them, in order.</summary>
    public IReadOnlyList<IPEndPoint> Peers
    {
        get { lock (_peers) return [.. _peers]; }
    }

    /// <summary>Sends back what it receives, and finishes when the client does.</summary>
    public static PodServer Echo(PodNamespace pod, int port, IPAddress? address = null) => Start(pod, port, address ?? IPAddress.IPv6Any, async stream =>
    {
        var buffer = new byte[16 * 1024];
        while (await stream.ReadAsync(buffer, CancellationToken.None) is > 0 and var count) await stream.WriteAsync(buffer.AsMemory(0, count), CancellationToken.None);
    });

    public static PodServer Start(PodNamespace pod, int port, IPAddress address, Func<NetworkStream, Task> serve)
    {
        var socket = pod.Namespace.Run(() =>
        {
            var listener = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            if (address.Equals(IPAddress.IPv6Any)) listener.DualMode = true;
            listener.Bind(new IPEndPoint(address, port));
            listener.Listen(512);
            return listener;
        });
        var server = new PodServer(socket);
        _ = server.AcceptAsync(serve);
        return server;
    }

    public void Dispose() => _socket.Dispose();

    private async Task AcceptAsync(Func<NetworkStream, Task> serve)
    {
        try
        {
            while (true)
            {
                var client = await _socket.AcceptAsync(CancellationToken.None);
                lock (_peers) _peers.Add(AmbientMesh.Ztunnel.Connections.Listener.Canonical(client.RemoteEndPoint));
                _ = ServeAsync(client, serve);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Disposed.
        }
    }

    private static async Task ServeAsync(Socket client, Func<NetworkStream, Task> serve)
    {
        await Task.Yield();
        try
        {
            await using var stream = new NetworkStream(client, ownsSocket: true);
            await serve(stream);
        }
        catch (IOException)
        {
            // The test ended the connection.
        }
    }
}

/// <summary>A client of an application inside a pod.</summary>
public static class PodClient
{
    public static async Task<TcpClient> ConnectAsync(PodNamespace pod, IPEndPoint destination)
    {
        var socket = pod.Namespace.Run(() => new Socket(destination.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true });
        await socket.ConnectAsync(destination, Patience.Token);
        return new TcpClient { Client = socket };
    }

    /// <summary>Sends text, finishes, and returns everything that comes back.</summary>
    public static async Task<string> CallAsync(PodNamespace pod, IPEndPoint destination, string text = "ping")
    {
        using var client = await ConnectAsync(pod, destination);
        var stream = client.GetStream();
        await stream.WriteAsync(Encoding.UTF8.GetBytes(text), Patience.Token);
        client.Client.Shutdown(SocketShutdown.Send);
        using var reader = new StreamReader(stream);
        return await reader.ReadToEndAsync(Patience.Token);
    }

    /// <summary>What comes back over an accepted connection until it is closed or reset; it must be accepted.</summary>
    public static async Task<string> AnswerAsync(PodNamespace pod, IPEndPoint destination)
    {
        try
        {
            using var client = await ConnectAsync(pod, destination);
            using var reader = new StreamReader(client.GetStream());
            return await reader.ReadToEndAsync(Patience.Token);
        }
        catch (Exception e) when (e is IOException or SocketException { SocketErrorCode: SocketError.ConnectionReset })
        {
            return "";   // a reset comes after the handshake, also when the client learns of both at once
        }
    }

    /// <summary>Whether a connection is refused, reset, or closed without a byte.</summary>
    public static async Task<bool> FailsAsync(PodNamespace pod, IPEndPoint destination, string text = "ping")
    {
        try
        {
            return await CallAsync(pod, destination, text) is "";
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            return true;
        }
    }
}
