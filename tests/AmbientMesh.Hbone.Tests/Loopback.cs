using System.Net;
using System.Net.Sockets;

namespace AmbientMesh.Hbone.Tests;

/// <summary>Two ends of one TCP connection over loopback.</summary>
internal static class Loopback
{
    public static async Task<(SocketTransport Client, SocketTransport Server)> PairAsync()
    {
        var (client, server) = await SocketsAsync();
        return (new SocketTransport(client), new SocketTransport(server));
    }

    public static async Task<(Socket Client, Socket Server)> SocketsAsync()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen();
        var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        var accepting = listener.AcceptAsync(Patience.Token).AsTask();
        await client.ConnectAsync(listener.LocalEndPoint!, Patience.Token);
        return (client, await accepting);
    }

    /// <summary>A tunnel without TLS between our own two ends.</summary>
    public static async Task<(HboneClientConnection Client, HboneServerConnection Server)> TunnelAsync(
        HboneOptions? client = null, HboneOptions? server = null, TimeProvider? clock = null)
    {
        var (c, s) = await PairAsync();
        return (HboneClientConnection.Start(c, client ?? new(), clock: clock), HboneServerConnection.Start(s, server ?? new(), clock: clock));
    }

    public static async Task<HboneRequest> NextAsync(this HboneServerConnection server)
    {
        await foreach (var request in server.RequestsAsync(Patience.Token)) return request;
        throw new InvalidOperationException($"The tunnel ended before a request came: {server.Failure?.Message}");
    }

    /// <summary>A connected stream, both ends.</summary>
    public static async Task<(HboneStream Client, HboneStream Server)> StreamAsync(this (HboneClientConnection Client, HboneServerConnection Server) tunnel)
    {
        var connecting = tunnel.Client.ConnectAsync(HboneAuthority.Of("10.0.0.1", 80), [], Patience.Token);
        var server = (await tunnel.Server.NextAsync()).Accept();
        return (Assert.IsType<ConnectOutcome.Established>(await Patience.Within(connecting)).Stream, server);
    }

    /// <summary>Everything up to the end of the peer's side.</summary>
    public static async Task<byte[]> ReadToEndAsync(this ITransport transport)
    {
        var all = new MemoryStream();
        var buffer = new byte[65536];
        while (await transport.ReadAsync(buffer, Patience.Token) is > 0 and var count) all.Write(buffer, 0, count);
        return all.ToArray();
    }

    public static async Task<byte[]> ReadExactlyAsync(this ITransport transport, int count)
    {
        var all = new byte[count];
        for (var got = 0; got < count;)
        {
            var part = await transport.ReadAsync(all.AsMemory(got), Patience.Token);
            Assert.True(part > 0, $"The stream ended after {got} of {count} bytes.");
            got += part;
        }
        return all;
    }

    public static byte[] Bytes(int count, int seed = 1)
    {
        var bytes = new byte[count];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }
}
