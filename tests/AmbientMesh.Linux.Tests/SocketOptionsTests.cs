using System.Net;
using System.Net.Sockets;

namespace AmbientMesh.Linux.Tests;

public class SocketOptionsTests
{
    [Theory]
    [InlineData("iptables-nft", "10.77.0.9", false)]
    [InlineData("iptables-legacy", "10.77.0.9", false)]
    [InlineData("iptables-nft", "10.77.0.9", true)]
    [InlineData("ip6tables-nft", "fd77::9", true)]
    public async Task A_redirected_connection_knows_where_it_was_going(string program, string destination, bool dualStackListener)
    {
        using var inside = await Kernel.NamespaceAsync();
        var family = destination.Contains(':') ? "-6" : "-4";
        await Kernel.ShAsync(inside, $"""
            ip link add d0 type veth peer name d1; ip link set d0 up; ip link set d1 up
            ip {family} addr add {(family == "-6" ? "fd77::1/64 nodad" : "10.77.0.1/24")} dev d0
            {program} -w -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001
            """);
        using var listener = inside.Run(() => Listen(dualStackListener));
        using var client = inside.Run(() => new Socket(SocketType.Stream, ProtocolType.Tcp));
        var connecting = client.ConnectAsync(IPEndPoint.Parse(family == "-6" ? $"[{destination}]:80" : $"{destination}:80"), Patience.Token);
        using var accepted = await listener.AcceptAsync(Patience.Token);
        await connecting;
        Assert.Equal(new IPEndPoint(IPAddress.Parse(destination), 80), accepted.OriginalDestination());
    }

    [Fact]
    public async Task A_socket_marked_for_the_proxy_is_not_redirected()
    {
        using var inside = await Kernel.NamespaceAsync();
        await Kernel.ShAsync(inside, "iptables-nft -t nat -A OUTPUT -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 9");
        using var listener = inside.Run(() => Listen(dualStack: false));
        using var client = inside.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        client.SetMark(0x539);
        await client.ConnectAsync(IPAddress.Loopback, 15001, Patience.Token);
        using var accepted = await listener.AcceptAsync(Patience.Token);
        Assert.Equal(client.LocalEndPoint, accepted.RemoteEndPoint);
    }

    [Theory]
    [InlineData(AddressFamily.InterNetwork, "192.0.2.7")]
    [InlineData(AddressFamily.InterNetworkV6, "2001:db8::7")]
    public async Task A_transparent_socket_binds_to_an_address_that_is_not_ours(AddressFamily family, string address)
    {
        using var inside = await Kernel.NamespaceAsync();
        using var socket = inside.Run(() => new Socket(family, SocketType.Stream, ProtocolType.Tcp));
        Assert.Throws<SocketException>(() => socket.Bind(new IPEndPoint(IPAddress.Parse(address), 0)));
        Assert.True(socket.TrySetTransparent(family));
        socket.SetFreeBind(family);
        socket.Bind(new IPEndPoint(IPAddress.Parse(address), 0));
    }

    [Fact]
    public async Task The_namespace_of_a_socket_is_told_by_the_kernel()
    {
        using var inside = await Kernel.NamespaceAsync();
        using var here = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        using var there = inside.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        using var also = inside.Run(() => new Socket(AddressFamily.InterNetworkV6, SocketType.Dgram, ProtocolType.Udp));
        Assert.NotEqual(here.GetNetworkNamespaceCookie(), there.GetNetworkNamespaceCookie());
        Assert.Equal(there.GetNetworkNamespaceCookie(), also.GetNetworkNamespaceCookie());
    }

    [Fact]
    public void Two_listeners_share_a_port_with_reuse()
    {
        using var first = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        using var second = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        first.SetReusePort();
        second.SetReusePort();
        first.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        second.Bind(first.LocalEndPoint!);
        Assert.NotEqual(first.GetCookie(), second.GetCookie());
    }

    private static Socket Listen(bool dualStack)
    {
        var socket = new Socket(dualStack ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        if (dualStack) socket.DualMode = true;
        socket.Bind(new IPEndPoint(dualStack ? IPAddress.IPv6Any : IPAddress.Any, 15001));
        socket.Listen();
        return socket;
    }
}
