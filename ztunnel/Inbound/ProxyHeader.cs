using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;
using AmbientMesh.Model;

namespace AmbientMesh.Ztunnel.Inbound;

/// <summary>The PROXY protocol v2 header sent to an application behind a tunnel (L4 reference §3.8).</summary>
/// <remarks>
/// <code>
/// signature 12 | 0x21 (v2, PROXY) | family 1 (0x11 TCP/IPv4, 0x21 TCP/IPv6) | length 2
/// source address | destination address | source port 2 | destination port 2
/// TLV: 0xD0 | length 2 | SPIFFE URI of the client, UTF-8
/// </code>
/// Source: HAProxy, "The PROXY protocol", §2.2.
/// </remarks>
public static class ProxyHeader
{
    private const byte IdentityTlv = 0xD0;
    private static ReadOnlySpan<byte> Signature => [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A];

    /// <summary>The header's bytes; when the families differ both addresses are written as IPv6.</summary>
    public static byte[] Write(IPEndPoint source, IPEndPoint destination, SpiffeId? identity)
    {
        var isV4 = source.AddressFamily == AddressFamily.InterNetwork && destination.AddressFamily == AddressFamily.InterNetwork;
        var addresses = isV4 ? 12 : 36;
        var name = identity is { } id ? Encoding.UTF8.GetBytes(id.ToString()) : [];
        var tlv = name.Length > 0 ? 3 + name.Length : 0;
        var header = new byte[16 + addresses + tlv];
        Signature.CopyTo(header);
        header[12] = 0x21;
        header[13] = isV4 ? (byte)0x11 : (byte)0x21;
        BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(14), (ushort)(addresses + tlv));
        var at = 16;
        foreach (var end in (IPEndPoint[])[source, destination])
        {
            var bytes = (isV4 ? end.Address : end.Address.MapToIPv6()).GetAddressBytes();
            bytes.CopyTo(header, at);
            at += bytes.Length;
        }
        BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(at), (ushort)source.Port);
        BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(at + 2), (ushort)destination.Port);
        if (tlv > 0)
        {
            header[at + 4] = IdentityTlv;
            BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(at + 5), (ushort)name.Length);
            name.CopyTo(header, at + 7);
        }
        return header;
    }
}
