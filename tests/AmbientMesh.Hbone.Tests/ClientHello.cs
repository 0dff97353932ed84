using System.Buffers.Binary;

namespace AmbientMesh.Hbone.Tests;

/// <summary>The parts of a TLS ClientHello that tests compare (RFC 8446 §4.1.2).</summary>
internal sealed record ClientHello(IReadOnlyList<ushort> CipherSuites, IReadOnlyDictionary<int, byte[]> Extensions)
{
    /// <param name="record">A whole handshake record: five bytes of record header, four of handshake header, the message.</param>
    public static ClientHello Parse(ReadOnlySpan<byte> record)
    {
        var rest = record[(5 + 4 + 2 + 32)..];
        rest = rest[(1 + rest[0])..];   // session id
        var suites = new List<ushort>();
        var length = BinaryPrimitives.ReadUInt16BigEndian(rest);
        for (var i = 2; i < 2 + length; i += 2)
            if (BinaryPrimitives.ReadUInt16BigEndian(rest[i..]) is var suite and not 0x00ff) suites.Add(suite);   // 0x00ff signals no renegotiation
        rest = rest[(2 + length)..];
        rest = rest[(1 + rest[0] + 2)..];   // compression methods, length of the extensions
        var extensions = new Dictionary<int, byte[]>();
        while (rest.Length >= 4)
        {
            var size = BinaryPrimitives.ReadUInt16BigEndian(rest[2..]);
            extensions.Add(BinaryPrimitives.ReadUInt16BigEndian(rest), rest.Slice(4, size).ToArray());
            rest = rest[(4 + size)..];
        }
        return new ClientHello(suites, extensions);
    }
}
