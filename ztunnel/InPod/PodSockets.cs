using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using AmbientMesh.Linux;
using AmbientMesh.Ztunnel.Configuration;
using AmbientMesh.Ztunnel.InPod.Handover;

namespace AmbientMesh.Ztunnel.InPod;

/// <summary>Opens sockets inside a pod's network namespace, with the mark and options of L4 reference §8.7. Thread-safe.</summary>
/// <param name="pod">Null for the process's own namespace, where a mark is set in dedicated mode only.</param>
/// <param name="inherited">Listening sockets an earlier proxy has open in the pod; disposed by the caller once every listener was asked for.</param>
public sealed class PodSockets(NetworkNamespace? pod, ZtunnelSettings settings, InheritedSockets? inherited = null)
{
    private const int Backlog = 128;
    private const int SolIp = 0, IpBindAddressNoPort = 24;   // linux/in.h

    private readonly Lock _gate = new();
    private readonly Dictionary<string, Socket> _listening = [];
    private bool _canSpoof = settings.OriginalSource != SourcePreservation.Off;

    /// <summary>Whether connections to the application carry the client's address.</summary>
    public bool PreservesSource => _canSpoof && pod is not null;

    /// <summary>The sockets listened on, by name, for a proxy that comes after this one. A closed one shows by its invalid handle.</summary>
    public IReadOnlyList<(string Name, SafeHandle Socket)> Listening
    {
        get { lock (_gate) return [.. _listening.Where(l => !l.Value.SafeHandle.IsClosed).Select(l => (l.Key, (SafeHandle)l.Value.SafeHandle))]; }
    }

    /// <summary>A listening or bound socket that outlives a change of proxies: the earlier proxy's of that name where there is one, else what <paramref name="open"/> makes.</summary>
    /// <param name="name">E.g. <c>tcp/15001</c>; the same in every version.</param>
    /// <param name="isUsable">Whether an earlier proxy's socket is what <paramref name="open"/> would make.</param>
    public Socket Keep(string name, Predicate<Socket> isUsable, Func<Socket> open)
    {
        var socket = inherited?.Take(name, found => IsInPod(found) && isUsable(found)) ?? open();
        socket.MarkShared();
        lock (_gate) _listening[name] = socket;
        return socket;
    }

    /// <summary>Whether an interface of the pod has one of these addresses; the process's own namespace is not asked. False also when it cannot be asked.</summary>
    public bool HasAny(IReadOnlyCollection<IPAddress> addresses)
    {
        try
        {
            return pod is null || InterfaceAddresses.Of(pod).Any(addresses.Contains);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            return false;
        }
    }

    /// <summary>A listener on every address of the pod, both families when IPv6 is on and the kernel has it; an earlier proxy's listener where there is one.</summary>
    /// <exception cref="IOException">The port is taken or an option is refused; the text is what the node agent is told.</exception>
    public Socket Listen(ushort port)
    {
        var address = new IPEndPoint(IsDual ? IPAddress.IPv6Any : IPAddress.Any, port);
        return Keep($"tcp/{port}", IsUsable, () => OpenListener(address));

        bool IsUsable(Socket socket)
        {
            if (!address.Equals(socket.LocalEndPoint)) return false;
            MakeTransparent(socket, address.AddressFamily);
            Mark(socket);
            Apply(socket);
            return true;
        }
    }

    /// <summary>A listener on one address of the pod.</summary>
    /// <exception cref="SocketException">The address is not there or the port is taken.</exception>
    public Socket ListenOn(IPEndPoint address) => Keep($"tcp/{address}", socket => address.Equals(socket.LocalEndPoint), () => Inside(() => Bound(address, SocketType.Stream, ProtocolType.Tcp)));

    /// <summary>A listener on the pod's IPv4 loopback, for its own applications.</summary>
    /// <inheritdoc cref="Listen"/>
    public Socket ListenOnLoopback(ushort port)
    {
        var address = new IPEndPoint(IPAddress.Loopback, port);
        try
        {
            var socket = ListenOn(address);
            Apply(socket);
            return socket;
        }
        catch (SocketException e)
        {
            throw BindFailed(address, e);
        }
    }

    /// <summary>A datagram socket on one address of the pod; each proxy has its own, and leaves without loss by connecting it.</summary>
    /// <inheritdoc cref="ListenOn"/>
    public Socket ReceiveOn(IPEndPoint address) => Inside(() => Bound(address, SocketType.Dgram, ProtocolType.Udp));

    /// <summary>An unbound datagram socket with the pod's own address.</summary>
    /// <exception cref="SocketException">No descriptor is left.</exception>
    public Socket OpenDatagram(AddressFamily family) => Inside(() => Prepared(family, SocketType.Dgram, ProtocolType.Udp, Mark));

    // A kernel that was started without IPv6 has no such sockets at all, whatever the settings say.
    private bool IsDual => settings.IPv6Enabled && Socket.OSSupportsIPv6;

    private Socket OpenListener(IPEndPoint address) => Inside(() =>
    {
        Socket? socket = null;
        try
        {
            socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            if (IsDual) socket.DualMode = true;
            if (settings.InPodPortReuse) socket.SetReusePort();
            MakeTransparent(socket, address.AddressFamily);
            Mark(socket);
            Apply(socket);
            socket.Bind(address);
            socket.Listen(Backlog);
            return socket;
        }
        catch (SocketException e)
        {
            socket?.Dispose();
            throw BindFailed(address, e);
        }
    });

    /// <summary>Connects with the pod's own address.</summary>
    /// <exception cref="SocketException">Refused, unreachable, timed out by the kernel.</exception>
    public ValueTask<Socket> ConnectAsync(IPEndPoint destination, CancellationToken cancellationToken) => ConnectAsync(null, destination, cancellationToken);

    /// <summary>Connects to the application; it sees <paramref name="client"/> as its peer where that is possible and differs from itself.</summary>
    /// <inheritdoc cref="ConnectAsync(IPEndPoint, CancellationToken)"/>
    public ValueTask<Socket> ConnectAsClientAsync(IPAddress client, IPEndPoint destination, CancellationToken cancellationToken) =>
        ConnectAsync(PreservesSource && !client.Equals(destination.Address) && client.AddressFamily == destination.AddressFamily ? client : null, destination, cancellationToken);

    /// <summary>Connects from and to loopback, as application tunnels want it.</summary>
    public ValueTask<Socket> ConnectFromLoopbackAsync(IPEndPoint destination, CancellationToken cancellationToken) => ConnectAsync(destination.Address, destination, cancellationToken);

    /// <summary>An unconnected socket for a tunnel.</summary>
    public Socket OpenForTunnel(AddressFamily family) => Inside(() => Prepare(null, family));

    private async ValueTask<Socket> ConnectAsync(IPAddress? from, IPEndPoint destination, CancellationToken cancellationToken)
    {
        var socket = Inside(() => Prepare(from, destination.AddressFamily));
        try
        {
            await socket.ConnectAsync(destination, cancellationToken);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private Socket Bound(IPEndPoint address, SocketType type, ProtocolType protocol) => Prepared(address.AddressFamily, type, protocol, socket =>
    {
        if (settings.InPodPortReuse) socket.SetReusePort();
        Mark(socket);
        socket.Bind(address);
        if (type == SocketType.Stream) socket.Listen(Backlog);
    });

    private static Socket Prepared(AddressFamily family, SocketType type, ProtocolType protocol, Action<Socket> prepare)
    {
        var socket = new Socket(family, type, protocol);
        try
        {
            prepare(socket);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private Socket Prepare(IPAddress? from, AddressFamily family)
    {
        var socket = new Socket(family, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            Mark(socket);
            Apply(socket);
            if (from is not null)
            {
                if (!IPAddress.IsLoopback(from))
                {
                    socket.SetTransparent(family);
                    socket.SetFreeBind(family);
                }
                // The port is chosen at connect, by the whole four-tuple: a busy client does not run out of them.
                socket.SetRawSocketOption(SolIp, IpBindAddressNoPort, BitConverter.GetBytes(1));
                socket.Bind(new IPEndPoint(from, 0));
            }
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Keep-alive and delay settings of every data socket. Set on a listener they hold for what it accepts (Linux copies its TCP options), which spares six
    /// calls for each connection.</summary>
    private void Apply(Socket socket)
    {
        socket.NoDelay = true;
        if (!settings.KeepAliveEnabled) return;
        socket.SetKeepAlive(settings.KeepAliveTime, settings.KeepAliveInterval, settings.KeepAliveRetries);
        if (settings.UserTimeoutEnabled) socket.SetUserTimeout(settings.KeepAliveTime + (settings.KeepAliveInterval * settings.KeepAliveRetries));
    }

    private void MakeTransparent(Socket socket, AddressFamily family)
    {
        if (settings.OriginalSource == SourcePreservation.Required) socket.SetTransparent(family);
        else if (settings.OriginalSource == SourcePreservation.Auto && !socket.TrySetTransparent(family)) _canSpoof = false;
    }

    private void Mark(Socket socket)
    {
        if (settings.PacketMark != 0 && (pod is not null || settings.DedicatedWorkload is not null)) socket.SetMark(settings.PacketMark);
    }

    // Names and numbers come from another process; which namespace a socket belongs to is the kernel's word.
    private bool IsInPod(Socket found)
    {
        using var own = Inside(() => new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp));
        return found.GetNetworkNamespaceCookie() == own.GetNetworkNamespaceCookie();
    }

    private T Inside<T>(Func<T> open) => pod is null ? open() : pod.Run(open);

    private static IOException BindFailed(IPEndPoint address, SocketException e) =>
        new($"Bind({address}, Os {{ code: {e.NativeErrorCode}, kind: {Kind(e.SocketErrorCode)}, message: \"{e.Message}\" }})", e);

    private static string Kind(SocketError error) => error switch
    {
        SocketError.AddressAlreadyInUse => "AddrInUse",
        SocketError.AddressNotAvailable => "AddrNotAvailable",
        SocketError.AccessDenied => "PermissionDenied",
        _ => "Other",
    };
}
