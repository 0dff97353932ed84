using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace AmbientMesh.Linux;

/// <summary>Linux socket options the proxy needs and .NET does not name. Values: <c>asm-generic/socket.h</c>, <c>linux/in.h</c>, <c>linux/in6.h</c>.</summary>
public static class SocketOptions
{
    private const int SolSocket = 1, SoReusePort = 15, SoPeerCredentials = 17, SoMark = 36, SoCookie = 57, SoNetworkNamespaceCookie = 71;
    private const int SolIp = 0, IpFreeBind = 15, IpTransparent = 19, SoOriginalDst = 80;
    private const int SolIpv6 = 41, Ipv6Transparent = 75, Ipv6FreeBind = 78;
    private const int SolTcp = 6, TcpUserTimeout = 18;

    /// <summary>SO_MARK on every packet of the socket; needs CAP_NET_ADMIN (or CAP_NET_RAW).</summary>
    /// <exception cref="SocketException">Not permitted.</exception>
    public static void SetMark(this Socket socket, int mark) => Set(socket, SolSocket, SoMark, mark);

    /// <summary>IP_TRANSPARENT or IPV6_TRANSPARENT: bind to an address that is not ours.</summary>
    /// <exception cref="SocketException">Not permitted.</exception>
    public static void SetTransparent(this Socket socket, AddressFamily family)
    {
        if (family == AddressFamily.InterNetworkV6) Set(socket, SolIpv6, Ipv6Transparent, 1);
        else Set(socket, SolIp, IpTransparent, 1);
    }

    /// <summary>As <see cref="SetTransparent"/>; false when the kernel refuses.</summary>
    public static bool TrySetTransparent(this Socket socket, AddressFamily family)
    {
        try
        {
            socket.SetTransparent(family);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    /// <summary>IP_FREEBIND or IPV6_FREEBIND: bind to an address that does not exist here.</summary>
    public static void SetFreeBind(this Socket socket, AddressFamily family)
    {
        if (family == AddressFamily.InterNetworkV6) Set(socket, SolIpv6, Ipv6FreeBind, 1);
        else Set(socket, SolIp, IpFreeBind, 1);
    }

    /// <summary>SO_REUSEPORT: several processes listen on one port and the kernel spreads connections.</summary>
    public static void SetReusePort(this Socket socket) => Set(socket, SolSocket, SoReusePort, 1);

    /// <summary>Marks a socket that other processes hold too: disposing it here closes only this process's descriptor. The runtime disconnects a socket that it
    /// disposes during a call, for everybody, unless close-on-exec is off; so this takes that flag off.</summary>
    public static void MarkShared(this Socket socket)
    {
        if (Libc.ControlDescriptor((int)socket.SafeHandle.DangerousGetHandle(), Libc.SetDescriptorFlags, 0) != 0) throw SystemCallException.Last("fcntl", "sharing a socket");
    }

    /// <summary>TCP keep-alive; whole seconds, each at least 1.</summary>
    public static void SetKeepAlive(this Socket socket, TimeSpan idle, TimeSpan interval, int count)
    {
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, Seconds(idle));
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, Seconds(interval));
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, count);
    }

    /// <summary>TCP_USER_TIMEOUT: how long sent bytes may stay unacknowledged before the connection is given up.</summary>
    public static void SetUserTimeout(this Socket socket, TimeSpan timeout) => Set(socket, SolTcp, TcpUserTimeout, (int)timeout.TotalMilliseconds);

    /// <summary>SO_COOKIE: the kernel's number of this socket, unique until reboot.</summary>
    public static ulong GetCookie(this Socket socket) => Cookie(socket, SoCookie);

    /// <summary>SO_NETNS_COOKIE: the kernel's number of the network namespace the socket belongs to, unique until reboot.</summary>
    public static ulong GetNetworkNamespaceCookie(this Socket socket) => Cookie(socket, SoNetworkNamespaceCookie);

    /// <summary>SO_PEERCRED: the effective user of the process at the other end of a Unix socket when it connected or began to listen.</summary>
    public static uint GetPeerUser(this Socket socket)
    {
        Span<uint> credentials = stackalloc uint[3];   // ucred: pid, uid, gid
        socket.GetRawSocketOption(SolSocket, SoPeerCredentials, MemoryMarshal.AsBytes(credentials));
        return credentials[1];
    }

    /// <summary>SO_ORIGINAL_DST: where an accepted connection was going before REDIRECT or DNAT changed it; IPv4-mapped addresses come back as IPv4.</summary>
    /// <returns>Null when the connection is not tracked or was not redirected by netfilter's knowledge.</returns>
    public static IPEndPoint? OriginalDestination(this Socket socket)
    {
        if (socket.RemoteEndPoint is not IPEndPoint peer) return null;
        var v4 = peer.AddressFamily == AddressFamily.InterNetwork || peer.Address.IsIPv4MappedToIPv6;
        Span<byte> address = stackalloc byte[28];   // sockaddr_in6
        try
        {
            var length = socket.GetRawSocketOption(v4 ? SolIp : SolIpv6, SoOriginalDst, v4 ? address[..16] : address);
            return length >= (v4 ? 16 : 28) ? Parse(address, v4) : null;
        }
        catch (SocketException)
        {
            return null;
        }
    }

    // sockaddr_in:  family 2 | port 2 (network order) | address 4
    // sockaddr_in6: family 2 | port 2 (network order) | flow 4 | address 16 | scope 4
    private static IPEndPoint Parse(ReadOnlySpan<byte> sockaddr, bool v4)
    {
        var port = sockaddr[2] << 8 | sockaddr[3];
        var address = new IPAddress(v4 ? sockaddr.Slice(4, 4) : sockaddr.Slice(8, 16));
        return new IPEndPoint(address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address, port);
    }

    private static int Seconds(TimeSpan time) => Math.Max(1, (int)time.TotalSeconds);

    private static ulong Cookie(Socket socket, int name)
    {
        Span<byte> value = stackalloc byte[sizeof(ulong)];
        socket.GetRawSocketOption(SolSocket, name, value);
        return MemoryMarshal.Read<ulong>(value);
    }

    private static void Set(Socket socket, int level, int name, int value) =>
        socket.SetRawSocketOption(level, name, MemoryMarshal.AsBytes(new ReadOnlySpan<int>(in value)));
}
