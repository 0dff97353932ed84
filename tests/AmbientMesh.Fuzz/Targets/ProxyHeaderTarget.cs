using System.Buffers.Binary;
using System.Net;
using System.Text;
using AmbientMesh.Model;
using AmbientMesh.Ztunnel.Inbound;

namespace AmbientMesh.Fuzz.Targets;

/// <summary>The PROXY header we write, read back by a strict reader: lengths, families and names must add up for any client.</summary>
public sealed class ProxyHeaderTarget : FuzzTarget
{
    public override string Name => "proxy-header";
    public override string Purpose => "PROXY v2 as written for any addresses and identity: a strict reader finds exactly these, and nothing behind them";

    public override IEnumerable<byte[]> Seeds() =>
    [
        [0, 10, 0, 0, 1, 0, 80, 10, 0, 0, 2, 31, 144, .. "\u000Dcluster.local\u0007default\u0003app"u8],
        [3, .. new byte[36]],
        [1, .. new byte[22]],
    ];

    public override void Run(byte[] input)
    {
        var rest = new InputBytes(input);
        var families = rest.Byte();
        var source = EndPoint(ref rest, (families & 1) != 0);
        var destination = EndPoint(ref rest, (families & 2) != 0);
        SpiffeId? peer = rest.IsEmpty ? null : new SpiffeId(rest.Text(), rest.Text(), rest.Text());
        Read(ProxyHeader.Write(source, destination, peer), source, destination, peer);
    }

    private static IPEndPoint EndPoint(ref InputBytes rest, bool isV6)
    {
        var bytes = new byte[isV6 ? 16 : 4];
        rest.Take(bytes.Length).CopyTo(bytes);
        return new IPEndPoint(new IPAddress(bytes), rest.Short());
    }

    private static void Read(ReadOnlySpan<byte> header, IPEndPoint source, IPEndPoint destination, SpiffeId? peer)
    {
        Demand.That(header[..12].SequenceEqual("\r\n\r\n\0\r\nQUIT\n"u8) && header[12] == 0x21, "signature and version");
        Demand.Equal(header.Length - 16, BinaryPrimitives.ReadUInt16BigEndian(header[14..]), "the length");
        var size = header[13] == 0x11 ? 4 : 16;
        var at = header[16..];
        Demand.Equal(Wide(source.Address), Wide(new IPAddress(at[..size])), "the source");
        Demand.Equal(Wide(destination.Address), Wide(new IPAddress(at[size..(2 * size)])), "the destination");
        at = at[(2 * size)..];
        Demand.Equal(source.Port, BinaryPrimitives.ReadUInt16BigEndian(at), "the source port");
        Demand.Equal(destination.Port, BinaryPrimitives.ReadUInt16BigEndian(at[2..]), "the destination port");
        at = at[4..];
        if (peer is { } id)
        {
            Demand.Equal(0xD0, at[0], "the identity's type");
            var length = BinaryPrimitives.ReadUInt16BigEndian(at[1..]);
            Demand.Equal(id.ToString(), Encoding.UTF8.GetString(at.Slice(3, length)), "the identity");
            at = at[(3 + length)..];
        }
        Demand.That(at.IsEmpty, "nothing behind");
    }

    private static IPAddress Wide(IPAddress address) => address.MapToIPv6();
}
