using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;
using AmbientMesh.Linux;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>A name server inside a pod: UDP and TCP on port 53 of both families. What it answers is the test's.</summary>
public sealed class NameServerStandIn : IDisposable
{
    private readonly List<Socket> _sockets = [];
    private readonly List<(byte[] Query, IPEndPoint Peer, bool Tcp)> _seen = [];

    /// <summary>Makes the answer to a query; null keeps silent.</summary>
    public volatile Func<byte[], bool, byte[]?> Answer;

    private NameServerStandIn(Func<byte[], bool, byte[]?> answer) => Answer = answer;

    /// <summary>Queries as they came, in order.</summary>
    public IReadOnlyList<(byte[] Query, IPEndPoint Peer, bool Tcp)> Seen
    {
        get { lock (_seen) return [.. _seen]; }
    }

    public void Forget()
    {
        lock (_seen) _seen.Clear();
    }

    public static NameServerStandIn Start(PodNamespace pod, Func<byte[], bool, byte[]?> answer) => Start(pod.Namespace, [pod.V4, pod.V6], answer);

    /// <summary>In the test's own namespace, at a loopback address that nobody else uses.</summary>
    public static NameServerStandIn StartOnLoopback(IPAddress address, Func<byte[], bool, byte[]?> answer) => Start(NetworkNamespace.Home, [address], answer);

    private static NameServerStandIn Start(NetworkNamespace inside, IPAddress[] addresses, Func<byte[], bool, byte[]?> answer)
    {
        var server = new NameServerStandIn(answer);
        foreach (var address in addresses)
        {
            var end = new IPEndPoint(address, 53);
            var datagrams = inside.Run(() => Bound(end, SocketType.Dgram, ProtocolType.Udp));
            var streams = inside.Run(() => Bound(end, SocketType.Stream, ProtocolType.Tcp));
            server._sockets.AddRange([datagrams, streams]);
            _ = server.ServeDatagramsAsync(datagrams);
            _ = server.ServeStreamsAsync(streams);
        }
        return server;
    }

    public void Dispose()
    {
        foreach (var socket in _sockets) socket.Dispose();
    }

    private static Socket Bound(IPEndPoint end, SocketType type, ProtocolType protocol)
    {
        var socket = new Socket(end.AddressFamily, type, protocol);
        socket.Bind(end);
        if (type == SocketType.Stream) socket.Listen(64);
        return socket;
    }

    private byte[]? See(byte[] query, EndPoint peer, bool tcp)
    {
        lock (_seen) _seen.Add((query, (IPEndPoint)peer, tcp));
        return Answer(query, tcp);
    }

    private async Task ServeDatagramsAsync(Socket socket)
    {
        var buffer = new byte[65535];
        try
        {
            while (true)
            {
                var received = await socket.ReceiveFromAsync(buffer, SocketFlags.None, new IPEndPoint(socket.AddressFamily == AddressFamily.InterNetwork ? IPAddress.Any : IPAddress.IPv6Any, 0), CancellationToken.None);
                if (See(buffer[..received.ReceivedBytes], received.RemoteEndPoint, tcp: false) is { } answer) await socket.SendToAsync(answer, SocketFlags.None, received.RemoteEndPoint, CancellationToken.None);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Disposed.
        }
    }

    private async Task ServeStreamsAsync(Socket listener)
    {
        try
        {
            while (true) _ = ServeStreamAsync(await listener.AcceptAsync(CancellationToken.None));
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Disposed.
        }
    }

    /// <summary>How many messages a zone transfer is sent in.</summary>
    public const int TransferMessages = 3;

    // A transfer is the same message again and again.
    private static IEnumerable<byte[]> Split(byte[]? answer) =>
        answer is null ? [] : Enumerable.Repeat(answer, AmbientMesh.Ztunnel.Dns.DnsQuery.TryParse(answer, out var asked, out _) && asked.Question.Type == 252 ? TransferMessages : 1);

    private async Task ServeStreamAsync(Socket client)
    {
        try
        {
            await using var stream = new NetworkStream(client, ownsSocket: true);
            while (await DnsClient.ReadAsync(stream) is { } query)
                foreach (var answer in Split(See(query, client.RemoteEndPoint!, tcp: true))) await stream.WriteAsync(DnsClient.Framed(answer), CancellationToken.None);
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            // The client has gone.
        }
    }
}

/// <summary>Asks from inside a pod, in bytes.</summary>
public static class DnsClient
{
    public const ushort A = 1, Aaaa = 28;

    public static byte[] Query(string name, ushort type = A, ushort id = 0x1234, ushort flags = 0x0100, byte[]? additional = null)
    {
        var bytes = new List<byte>();
        void Write(int value) => bytes.AddRange([(byte)(value >> 8), (byte)value]);
        foreach (var field in (int[])[id, flags, 1, 0, 0, additional is null ? 0 : 1]) Write(field);
        foreach (var label in name.Split('.', StringSplitOptions.RemoveEmptyEntries)) bytes.AddRange([(byte)label.Length, .. Encoding.ASCII.GetBytes(label)]);
        bytes.Add(0);
        Write(type);
        Write(1);
        return [.. bytes, .. additional ?? []];
    }

    /// <summary>One datagram there and one back.</summary>
    public static async Task<byte[]> UdpAsync(PodNamespace pod, IPAddress server, byte[] query, CancellationToken? limit = null)
    {
        using var socket = pod.Namespace.Run(() => new Socket(server.AddressFamily, SocketType.Dgram, ProtocolType.Udp));
        await socket.ConnectAsync(new IPEndPoint(server, 53), Patience.Token);   // takes an answer from nobody else
        await socket.SendAsync(query, Patience.Token);
        var buffer = new byte[65535];
        return buffer[..await socket.ReceiveAsync(buffer, limit ?? Patience.Token)];
    }

    /// <summary>As <see cref="UdpAsync"/>, at the proxy's own address and not by way of the redirect.</summary>
    public static async Task<byte[]> UdpLocalAsync(PodNamespace pod, byte[] query, IPAddress? loopback = null)
    {
        var address = loopback ?? IPAddress.Loopback;
        using var socket = pod.Namespace.Run(() => new Socket(address.AddressFamily, SocketType.Dgram, ProtocolType.Udp));
        await socket.ConnectAsync(new IPEndPoint(address, 15053), Patience.Token);
        await socket.SendAsync(query, Patience.Token);
        var buffer = new byte[65535];
        return buffer[..await socket.ReceiveAsync(buffer, Patience.Token)];
    }

    public static async Task<byte[]> TcpAsync(PodNamespace pod, IPAddress server, byte[] query) => (await TcpAsync(pod, server, [query], 1))[0];

    /// <summary>Several queries on one connection, then as many answers as are asked for.</summary>
    public static async Task<byte[][]> TcpAsync(PodNamespace pod, IPAddress server, byte[][] queries, int answers)
    {
        using var client = await PodClient.ConnectAsync(pod, new IPEndPoint(server, 53));
        var stream = client.GetStream();
        foreach (var query in queries) await stream.WriteAsync(Framed(query), Patience.Token);
        var read = new List<byte[]>();
        while (read.Count < answers) read.Add(await ReadAsync(stream) ?? throw new IOException("it closed instead of answering"));
        return [.. read];
    }

    public static Task<byte[]> AskAsync(PodNamespace pod, IPAddress server, byte[] query, bool tcp) => tcp ? TcpAsync(pod, server, query) : UdpAsync(pod, server, query);

    public static byte[] Framed(byte[] message) => [(byte)(message.Length >> 8), (byte)message.Length, .. message];

    public static async Task<byte[]?> ReadAsync(NetworkStream stream)
    {
        var length = new byte[2];
        if (await stream.ReadAtLeastAsync(length, 2, throwOnEndOfStream: false, CancellationToken.None) < 2) return null;
        var message = new byte[BinaryPrimitives.ReadUInt16BigEndian(length)];
        await stream.ReadExactlyAsync(message, CancellationToken.None);
        return message;
    }
}
