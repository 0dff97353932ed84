using System.Net;
using System.Net.Sockets;
using AmbientMesh.Linux;
using AmbientMesh.Ztunnel.Configuration;
using AmbientMesh.Ztunnel.InPod;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>Every data socket has the keep-alive and delay settings, though they are set once, on the listener.</summary>
public sealed class SocketOptionTests
{
    private const int SolTcp = 6, TcpUserTimeout = 18;

    [Theory, InlineData(false), InlineData(true)]
    public async Task What_a_listener_accepts_has_the_settings_of_a_data_socket(bool isOnLoopback)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "Network namespaces need root.");
        using var pod = NetworkNamespace.Create();
        (await HostProgram.RunAsync(new ProgramCall("ip", ["link", "set", "lo", "up"]) { Inside = pod }, Patience.Token)).Required();
        var settings = new ZtunnelSettings { KeepAliveEnabled = true, UserTimeoutEnabled = true, IPv6Enabled = false };
        var sockets = new PodSockets(pod, settings);
        using var listener = isOnLoopback ? sockets.ListenOnLoopback(15001) : sockets.Listen(15001);
        var accepting = listener.AcceptAsync(Patience.Token);

        using var connected = await sockets.ConnectAsync(new IPEndPoint(IPAddress.Loopback, 15001), Patience.Token);
        using var accepted = await accepting;

        foreach (var socket in (Socket[])[accepted, connected])
        {
            Assert.NotEqual(0, Option(socket, SocketOptionLevel.Tcp, SocketOptionName.NoDelay));
            Assert.NotEqual(0, Option(socket, SocketOptionLevel.Socket, SocketOptionName.KeepAlive));
            Assert.Equal((int)settings.KeepAliveTime.TotalSeconds, Option(socket, SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime));
            Assert.Equal((int)settings.KeepAliveInterval.TotalSeconds, Option(socket, SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval));
            Assert.Equal(settings.KeepAliveRetries, Option(socket, SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount));
            var timeout = new byte[sizeof(int)];
            socket.GetRawSocketOption(SolTcp, TcpUserTimeout, timeout);
            Assert.Equal((int)(settings.KeepAliveTime + (settings.KeepAliveInterval * settings.KeepAliveRetries)).TotalMilliseconds, BitConverter.ToInt32(timeout));
        }
    }

    private static int Option(Socket socket, SocketOptionLevel level, SocketOptionName name) => (int)socket.GetSocketOption(level, name)!;
}
