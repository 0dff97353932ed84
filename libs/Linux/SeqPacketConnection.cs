using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace AmbientMesh.Linux;

/// <summary>One received message. Dispose closes the descriptors nobody took.</summary>
/// <param name="Bytes">The message; empty when the peer has closed.</param>
/// <param name="Descriptors">What came along, close-on-exec; empty when <paramref name="IsTruncated"/>.</param>
/// <param name="IsTruncated">The kernel cut the message or its descriptors short; the message must not be trusted.</param>
public sealed record Packet(ReadOnlyMemory<byte> Bytes, SafeFileHandle[] Descriptors, bool IsTruncated) : IDisposable
{
    /// <summary>The peer has closed; also what an empty message looks like.</summary>
    public bool IsEnd => Bytes.IsEmpty && Descriptors.Length == 0 && !IsTruncated;

    public void Dispose()
    {
        foreach (var descriptor in Descriptors) descriptor.Dispose();
    }
}

/// <summary>A connected SOCK_SEQPACKET socket. One reader and one writer at a time.</summary>
/// <remarks>Source: <c>unix(7)</c>, <c>recvmsg(2)</c>, <c>cmsg(3)</c>.</remarks>
public sealed class SeqPacketConnection : IDisposable
{
    /// <summary>Descriptors one message may bring; the kernel closes any beyond and says so.</summary>
    public const int MaxDescriptors = 8;

    private readonly Socket _socket;

    internal SeqPacketConnection(Socket socket)
    {
        _socket = socket;
        socket.Blocking = false;
    }

    /// <summary>Whether the process at the other end runs under our own effective user, as the kernel knows it (SO_PEERCRED).</summary>
    public bool IsOfSameUser => _socket.GetPeerUser() == Libc.EffectiveUserId();

    /// <summary>Connects to a listener.</summary>
    /// <exception cref="SocketException">Nobody listens there.</exception>
    public static async ValueTask<SeqPacketConnection> ConnectAsync(string path, CancellationToken cancellationToken)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Seqpacket, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancellationToken);
            return new SeqPacketConnection(socket);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>The next message of at most <paramref name="maxBytes"/> bytes; a longer one comes back cut and marked.</summary>
    /// <exception cref="IOException">The connection failed.</exception>
    public async ValueTask<Packet> ReceiveAsync(int maxBytes, CancellationToken cancellationToken)
    {
        var buffer = new byte[maxBytes];
        while (true)
        {
            if (Receive(buffer) is { } packet) return packet;
            await ReadableAsync(cancellationToken);
        }
    }

    /// <summary>Sends one message, whole, with at most one descriptor (which stays the caller's).</summary>
    /// <exception cref="IOException">The peer is gone (<see cref="SystemCallException.ErrorNumber"/> 32 or 104) or the message is too long for the socket.</exception>
    public ValueTask SendAsync(ReadOnlyMemory<byte> bytes, SafeFileHandle? descriptor, CancellationToken cancellationToken) =>
        SendManyAsync(bytes, descriptor is null ? [] : [descriptor], cancellationToken);

    /// <summary>Sends one message, whole, with at most <see cref="MaxDescriptors"/> descriptors (which stay the caller's).</summary>
    /// <exception cref="IOException">As above.</exception>
    /// <exception cref="ObjectDisposedException">A descriptor was closed meanwhile; nothing was sent.</exception>
    public async ValueTask SendManyAsync(ReadOnlyMemory<byte> bytes, SafeHandle[] descriptors, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(descriptors.Length, MaxDescriptors);
        while (!TrySend(bytes.Span, descriptors))
        {
            // Rare: the peer has not read for long. A pool thread waits in short slices so that cancellation is seen.
            await Task.Run(() => _socket.Poll(microSeconds: 20_000, SelectMode.SelectWrite), cancellationToken);
            cancellationToken.ThrowIfCancellationRequested();
        }
    }

    public void Dispose() => _socket.Dispose();

    // A one-byte peek waits without taking the message; recvmsg then takes it with its descriptors.
    private async ValueTask ReadableAsync(CancellationToken cancellationToken)
    {
        try
        {
            await _socket.ReceiveAsync(new byte[1], SocketFlags.Peek, cancellationToken);
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.MessageSize)
        {
            // The message is longer than the byte peeked at; it is there, which is all that was asked.
        }
        catch (SocketException e)
        {
            throw new IOException($"Reading from the local socket failed: {e.Message}", e);
        }
    }

    private unsafe Packet? Receive(byte[] buffer)
    {
        const int controlBytes = 16 + MaxDescriptors * sizeof(int);
        var control = stackalloc byte[controlBytes];
        fixed (byte* start = buffer)
        {
            var vector = new Libc.IoVector { Base = start, Length = (nuint)buffer.Length };
            var message = new Libc.MessageHeader { Vectors = &vector, VectorCount = 1, Control = control, ControlLength = controlBytes };
            var length = Call(&message, receive: true);
            if (length < 0) return null;
            var descriptors = TakeDescriptors(control, (int)message.ControlLength);
            var truncated = (message.Flags & (Libc.MsgTrunc | Libc.MsgCtrunc)) != 0;
            if (truncated)
            {
                foreach (var descriptor in descriptors) descriptor.Dispose();
                descriptors = [];
            }
            return new Packet(buffer.AsMemory(0, (int)length), descriptors, truncated);
        }
    }

    private unsafe bool TrySend(ReadOnlySpan<byte> bytes, SafeHandle[] descriptors)
    {
        const int controlBytes = 16 + MaxDescriptors * sizeof(int);   // CMSG_SPACE
        var control = stackalloc byte[controlBytes];
        var held = 0;
        try
        {
            foreach (var descriptor in descriptors)
            {
                var isHeld = false;
                descriptor.DangerousAddRef(ref isHeld);
                held++;
            }
            fixed (byte* start = bytes)
            {
                var vector = new Libc.IoVector { Base = start, Length = (nuint)bytes.Length };
                var message = new Libc.MessageHeader { Vectors = &vector, VectorCount = 1 };
                if (descriptors.Length > 0)
                {
                    var length = sizeof(Libc.ControlHeader) + descriptors.Length * sizeof(int);
                    *(Libc.ControlHeader*)control = new Libc.ControlHeader { Length = (nuint)length, Level = Libc.SolSocket, Type = Libc.ScmRights };
                    for (var i = 0; i < descriptors.Length; i++) ((int*)(control + sizeof(Libc.ControlHeader)))[i] = (int)descriptors[i].DangerousGetHandle();
                    message.Control = control;
                    message.ControlLength = (nuint)(length + 7 & ~7);
                }
                return Call(&message, receive: false) >= 0;
            }
        }
        finally
        {
            for (var i = 0; i < held; i++) descriptors[i].DangerousRelease();
        }
    }

    // Bytes moved, or -1 when the call would block.
    private unsafe nint Call(Libc.MessageHeader* message, bool receive)
    {
        var held = false;
        var handle = _socket.SafeHandle;
        try
        {
            handle.DangerousAddRef(ref held);
            var fd = (int)handle.DangerousGetHandle();
            while (true)
            {
                var result = receive
                    ? Libc.ReceiveMessage(fd, message, Libc.MsgDontWait | Libc.MsgCmsgCloexec)
                    : Libc.SendMessage(fd, message, Libc.MsgDontWait | Libc.MsgNoSignal);
                if (result >= 0) return result;
                var error = Marshal.GetLastPInvokeError();
                if (error == Libc.Eagain) return -1;
                if (error != Libc.Eintr) throw new SystemCallException(receive ? "recvmsg" : "sendmsg", "on the local socket", error);
            }
        }
        finally
        {
            if (held) handle.DangerousRelease();
        }
    }

    // Control buffer: { length 8 | level 4 | type 4 | descriptors 4 each | padding to 8 } repeated.
    private static unsafe SafeFileHandle[] TakeDescriptors(byte* control, int length)
    {
        var taken = new List<SafeFileHandle>();
        for (var offset = 0; offset + sizeof(Libc.ControlHeader) <= length;)
        {
            var header = Unsafe.ReadUnaligned<Libc.ControlHeader>(control + offset);
            var size = (int)header.Length;
            if (size < sizeof(Libc.ControlHeader) || offset + size > length) break;
            if (header is { Level: Libc.SolSocket, Type: Libc.ScmRights })
                for (var at = offset + sizeof(Libc.ControlHeader); at + sizeof(int) <= offset + size; at += sizeof(int))
                    taken.Add(new SafeFileHandle(Unsafe.ReadUnaligned<int>(control + at), ownsHandle: true));
            offset += size + 7 & ~7;
        }
        return [.. taken];
    }
}
