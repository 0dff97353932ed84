using System.Buffers.Binary;
using System.Net;

namespace AmbientMesh.Lab.Capture;

/// <summary>One direction of one TCP connection.</summary>
public readonly record struct TcpFlow(IPEndPoint Source, IPEndPoint Destination)
{
    public override string ToString() => $"{Source} → {Destination}";
}

/// <summary>A TCP segment with payload as it crossed a wire.</summary>
public readonly record struct TcpSegment(TcpFlow Flow, uint Sequence, ReadOnlyMemory<byte> Payload)
{
    private const int EthernetHeader = 14;

    /// <summary>Reads an Ethernet frame (RFC 894, RFC 791, RFC 8200, RFC 9293); false for anything but TCP with payload.</summary>
    public static bool TryParse(ReadOnlySpan<byte> frame, out TcpSegment segment)
    {
        segment = default;
        if (frame.Length < EthernetHeader) return false;
        var packet = frame[EthernetHeader..];
        return BinaryPrimitives.ReadUInt16BigEndian(frame[12..]) switch
        {
            0x0800 => TryParseIpv4(packet, out segment),
            0x86DD => TryParseIpv6(packet, out segment),
            _ => false,
        };
    }

    private static bool TryParseIpv4(ReadOnlySpan<byte> packet, out TcpSegment segment)
    {
        segment = default;
        if (packet.Length < 20 || packet[9] != 6) return false;
        var header = (packet[0] & 0xF) * 4;
        var total = Math.Min(packet.Length, BinaryPrimitives.ReadUInt16BigEndian(packet[2..]));
        return total >= header && TryParseTcp(new IPAddress(packet[12..16]), new IPAddress(packet[16..20]), packet[header..total], out segment);
    }

    private static bool TryParseIpv6(ReadOnlySpan<byte> packet, out TcpSegment segment)
    {
        segment = default;
        if (packet.Length < 40 || packet[6] != 6) return false;
        var end = Math.Min(packet.Length, 40 + BinaryPrimitives.ReadUInt16BigEndian(packet[4..]));
        return TryParseTcp(new IPAddress(packet[8..24]), new IPAddress(packet[24..40]), packet[40..end], out segment);
    }

    private static bool TryParseTcp(IPAddress source, IPAddress destination, ReadOnlySpan<byte> tcp, out TcpSegment segment)
    {
        segment = default;
        if (tcp.Length < 20) return false;
        var header = (tcp[12] >> 4) * 4;
        if (tcp.Length <= header) return false;
        segment = new TcpSegment(
            new TcpFlow(new IPEndPoint(source, BinaryPrimitives.ReadUInt16BigEndian(tcp)), new IPEndPoint(destination, BinaryPrimitives.ReadUInt16BigEndian(tcp[2..]))),
            BinaryPrimitives.ReadUInt32BigEndian(tcp[4..]),
            tcp[header..].ToArray());
        return true;
    }
}
