using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using AmbientMesh.Linux;

namespace AmbientMesh.Lab.Capture;

/// <summary>Records all TCP payload that crosses the interfaces of one network namespace (AF_PACKET, packet(7)), up to a limit of bytes.</summary>
public sealed class WireCapture : IDisposable
{
    private const AddressFamily Packet = (AddressFamily)65536;
    private const int LargestFrame = 65536 + 64;
    private const int SolSocket = 1, ReceiveBufferForce = 33;   // SO_RCVBUFFORCE, socket(7)
    private const int SolPacket = 263, PacketStatistics = 6;    // packet(7)
    private const int BufferBytes = 64 * 1024 * 1024;           // so much may cross while the reader waits for a processor
    private readonly Socket _socket;
    private readonly Lock _gate = new();
    private readonly List<TcpSegment> _segments = [];
    private readonly Thread _reader;
    private readonly long _limit;
    private long _held;
    private volatile bool _stopped;

    /// <param name="namespace">Where the wire is.</param>
    /// <param name="limitBytes">Payload kept at most; what comes after makes <see cref="Stop"/> throw, so that a proof never rests on half a capture.</param>
    /// <exception cref="SocketException">Without CAP_NET_RAW or CAP_NET_ADMIN.</exception>
    public WireCapture(NetworkNamespace @namespace, long limitBytes = 256 * 1024 * 1024) : this(@namespace, limitBytes, BufferBytes)
    {
    }

    /// <param name="bufferBytes">What the kernel holds until the reader comes.</param>
    internal WireCapture(NetworkNamespace @namespace, long limitBytes, int bufferBytes)
    {
        _limit = limitBytes;
        _socket = @namespace.Run(() => new Socket(Packet, SocketType.Raw, (ProtocolType)IPAddress.HostToNetworkOrder((short)3)));
        _socket.ReceiveTimeout = 100;   // lets the reader see that it was stopped
        _socket.SetRawSocketOption(SolSocket, ReceiveBufferForce, BitConverter.GetBytes(bufferBytes));   // the usual option ends at net.core.rmem_max
        _reader = new Thread(Read) { IsBackground = true, Name = "wire capture" };
        _reader.Start();
    }

    /// <summary>What was seen so far.</summary>
    public WireRecording Recorded()
    {
        lock (_gate) return new WireRecording(_segments);
    }

    /// <summary>Ends the capture.</summary>
    /// <exception cref="InvalidOperationException">More crossed the wire than the limit, or than the kernel could hold until it was read.</exception>
    public WireRecording Stop()
    {
        _stopped = true;
        _reader.Join();
        if (_held > _limit) throw new InvalidOperationException($"More than {_limit} bytes crossed the wire; the capture is not whole.");
        if (Dropped() is > 0 and var dropped) throw new InvalidOperationException($"The kernel dropped {dropped} frames that were not read in time; the capture is not whole.");
        return Recorded();
    }

    public void Dispose()
    {
        _stopped = true;
        _reader.Join();
        _socket.Dispose();
    }

    // struct tpacket_stats: packets, drops; reading them sets both to zero.
    private uint Dropped()
    {
        Span<byte> statistics = stackalloc byte[2 * sizeof(uint)];
        _socket.GetRawSocketOption(SolPacket, PacketStatistics, statistics);
        return BitConverter.ToUInt32(statistics[sizeof(uint)..]);
    }

    private void Read()
    {
        var buffer = GC.AllocateUninitializedArray<byte>(LargestFrame);
        // A stop still drains what the kernel holds: the loop ends on the first empty read after it.
        while (true)
        {
            int length;
            try
            {
                length = _socket.Receive(buffer);
            }
            catch (SocketException nothing) when (nothing.SocketErrorCode is SocketError.TimedOut or SocketError.WouldBlock or SocketError.TryAgain)
            {
                if (_stopped) return;
                continue;
            }
            if (!TcpSegment.TryParse(MemoryMarshal.CreateReadOnlySpan(ref buffer[0], length), out var segment)) continue;
            lock (_gate)
            {
                _held += segment.Payload.Length;
                if (_held <= _limit) _segments.Add(segment);
            }
        }
    }
}
