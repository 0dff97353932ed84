using System.Buffers.Binary;
using System.Net.Sockets;

namespace AmbientMesh.Ztunnel.Dns;

/// <summary>Messages over TCP: each after two octets of length (RFC 1035 §4.2.2).</summary>
internal static class DnsStream
{
    /// <summary>The next message; null when the peer has finished between two.</summary>
    /// <exception cref="IOException">It finished inside one, or the connection failed.</exception>
    public static async Task<byte[]?> ReadAsync(NetworkStream stream, CancellationToken cancellationToken)
    {
        var length = new byte[2];
        if (await stream.ReadAtLeastAsync(length, 2, throwOnEndOfStream: false, cancellationToken) < 2) return null;
        var message = new byte[BinaryPrimitives.ReadUInt16BigEndian(length)];
        await stream.ReadExactlyAsync(message, cancellationToken);
        return message;
    }

    public static async Task WriteAsync(NetworkStream stream, ReadOnlyMemory<byte> message, CancellationToken cancellationToken)
    {
        var framed = new byte[2 + message.Length];
        BinaryPrimitives.WriteUInt16BigEndian(framed, (ushort)message.Length);
        message.CopyTo(framed.AsMemory(2));
        await stream.WriteAsync(framed, cancellationToken);
    }
}
