using System.Net;
using System.Net.Sockets;

namespace AmbientMesh.Hbone.Tests;

public class DialerTests
{
    private readonly Mesh _mesh = new();
    private readonly FakeTimeProvider _clock = new();

    private TunnelDialer Dialer() => new(
        family => new Socket(family, SocketType.Stream, ProtocolType.Tcp),
        (_, _) => ValueTask.FromResult(_mesh.Credentials("client")),
        new HboneOptions(), new HbonePoolOptions(), _clock);

    private HbonePoolKey Key(EndPoint destination) => new(_mesh.Id("client"), [_mesh.Id("server")], (IPEndPoint)destination, IPAddress.Loopback);

    private static Socket Listener(int backlog = 10)
    {
        var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(backlog);
        return listener;
    }

    [Fact]
    public async Task A_tunnel_is_dialled_verified_and_carries_a_stream()
    {
        using var listener = Listener();
        var dialling = Dialer().DialAsync(Key(listener.LocalEndPoint!), Patience.Token);
        var accepted = new SocketTransport(await listener.AcceptAsync(Patience.Token));
        var tls = await TlsHandshake.AcceptAsync(accepted, _mesh.Credentials("server"), Patience.Token);
        var tunnel = (Client: await Patience.Within(dialling), Server: HboneServerConnection.Start(tls, new HboneOptions(), tls.Peer));
        var (client, server) = await tunnel.StreamAsync();
        await client.WriteAsync("hello"u8.ToArray(), Patience.Token);
        Assert.Equal("hello"u8.ToArray(), await server.ReadExactlyAsync(5));
        Assert.Equal(_mesh.Id("server"), tunnel.Client.Peer!.Identity);
    }

    [Fact]
    public async Task A_port_where_nobody_listens_is_a_failed_connection_and_no_timeout()
    {
        using var closed = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        closed.Bind(new IPEndPoint(IPAddress.Loopback, 0));   // it does not listen, and nobody else can there
        var failure = await Assert.ThrowsAsync<TunnelConnectException>(() => Dialer().DialAsync(Key(closed.LocalEndPoint!), Patience.Token));
        Assert.False(failure.TimedOut);
        Assert.StartsWith("connection failed: Connection refused", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Silence_for_ten_seconds_points_at_a_network_policy()
    {
        using var listener = Listener(backlog: 1);
        var fillers = await FillAsync(listener, backlog: 1);   // further SYNs are dropped, as a policy drops them
        var dialling = Dialer().DialAsync(Key(listener.LocalEndPoint!), Patience.Token);
        await _clock.TimersArmedAsync(1, Patience.Token);
        _clock.Advance(TimeSpan.FromSeconds(10) - TimeSpan.FromMilliseconds(1));
        Assert.False(dialling.IsCompleted);
        _clock.Advance(TimeSpan.FromMilliseconds(1));
        var failure = await Assert.ThrowsAsync<TunnelConnectException>(() => Patience.Within(dialling));
        Assert.True(failure.TimedOut);
        Assert.StartsWith("connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008: ", failure.Message, StringComparison.Ordinal);
        foreach (var filler in fillers) filler.Dispose();
    }

    [Fact]
    [Scenario("T-09")]
    public async Task A_peer_that_takes_the_connection_and_says_nothing_is_given_up_after_ten_seconds()
    {
        using var listener = Listener();
        var dialling = Dialer().DialAsync(Key(listener.LocalEndPoint!), Patience.Token);
        var accepted = new SocketTransport(await listener.AcceptAsync(Patience.Token));
        await accepted.ReadExactlyAsync(5);   // the ClientHello is under way, so the handshake's limit is armed
        _clock.Advance(TimeSpan.FromSeconds(10));
        var failure = await Assert.ThrowsAsync<TlsHandshakeException>(() => Patience.Within(dialling));
        Assert.Contains("took longer than 10 s", failure.Message, StringComparison.Ordinal);
    }

    /// <summary>Connections nobody accepts, as many as the kernel keeps: one more than the backlog.</summary>
    private static async Task<List<Socket>> FillAsync(Socket listener, int backlog)
    {
        var fillers = new List<Socket>();
        for (var i = 0; i <= backlog; i++)
        {
            var filler = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            fillers.Add(filler);
            await filler.ConnectAsync(listener.LocalEndPoint!, Patience.Token);
        }
        await Patience.Until(() => IsFull(listener));   // a connection is kept a moment after its client has it
        return fillers;
    }

    /// <summary>Whether the kernel keeps more connections than the backlog (tcp(7), TCP_INFO of a listening socket), and so drops what else comes.</summary>
    private static bool IsFull(Socket listener)
    {
        const int Tcp = 6, TcpInfo = 11, KeptOffset = 24, BacklogOffset = 28;   // tcpi_unacked, tcpi_sacked
        var info = new byte[104];
        listener.GetRawSocketOption(Tcp, TcpInfo, info);
        return BitConverter.ToUInt32(info, KeptOffset) > BitConverter.ToUInt32(info, BacklogOffset);
    }
}
