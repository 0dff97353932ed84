using System.Net;
using System.Net.Sockets;
using System.Text;
using AmbientMesh.Linux;

namespace AmbientMesh.Benchmarks.L4;

/// <summary>Waiting for other processes to serve.</summary>
internal static class Readiness
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Every = TimeSpan.FromMilliseconds(100);

    /// <exception cref="IOException">A proxy ended, or it took too long; the message has the end of its log.</exception>
    public static async Task WaitAsync(string name, IReadOnlyList<HostedProcess> proxies, Func<bool> reached, CancellationToken cancellationToken)
    {
        var began = TimeProvider.System.GetTimestamp();
        while (!await Task.Run(reached, cancellationToken))
        {
            var dead = proxies.FirstOrDefault(p => p.HasExited);
            if (dead is not null) throw new IOException($"{name}: a proxy ended before it was ready:\n{Tail(dead.Log)}");
            if (TimeProvider.System.GetElapsedTime(began) > Limit)
                throw new IOException($"{name} did not become ready within {Limit.TotalSeconds} s:\n{string.Join("\n--\n", proxies.Select(p => Tail(p.Log)))}");
            await Task.Delay(Every, TimeProvider.System, cancellationToken);
        }
    }

    /// <summary>Whether one byte gets through to the load server and back.</summary>
    public static bool Passes(NetworkNamespace from, IPEndPoint destination)
    {
        try
        {
            using var socket = new LoadClient(from, destination).Connect(LoadKind.Once);
            socket.ReceiveTimeout = 2000;
            return socket.Receive(new byte[1]) == 1;
        }
        catch (Exception e) when (e is SocketException or IOException)
        {
            return false;
        }
    }

    /// <summary>An HTTP GET inside a namespace: status and body; null when nobody answers.</summary>
    public static (int Status, string Body)? Get(NetworkNamespace inside, int port, string path)
    {
        try
        {
            using var socket = inside.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
            socket.ReceiveTimeout = 5000;
            socket.Connect(new IPEndPoint(IPAddress.Loopback, port));
            socket.Send(Encoding.ASCII.GetBytes($"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
            var all = new MemoryStream();
            var buffer = new byte[16384];
            while (socket.Receive(buffer) is > 0 and var count) all.Write(buffer, 0, count);
            var text = Encoding.UTF8.GetString(all.ToArray());
            return text.Length > 12 && int.TryParse(text.AsSpan(9, 3), out var status) ? (status, text) : null;
        }
        catch (SocketException)
        {
            return null;
        }
    }

    private static string Tail(string log) => string.Join('\n', log.TrimEnd().Split('\n').TakeLast(15));
}
