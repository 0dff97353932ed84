using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using AmbientMesh.Protocol;
using Google.Protobuf;

namespace AmbientMesh.Rpc;

/// <summary>Length-prefixed messages. Source: gRPC over HTTP/2, "Length-Prefixed-Message".</summary>
/// <remarks>
/// <code>
///  0          1                            5
/// +----------+----------------------------+-----------------
/// | flag (1) | length (4, big-endian)     | message …
/// +----------+----------------------------+-----------------
/// </code>
/// Flag 1 means compressed, which is refused: the mesh's peers send identity only.
/// </remarks>
internal static class MessageFrames
{
    public const int PrefixBytes = 5;

    /// <summary>Reads one message; null at a clean end of the stream.</summary>
    /// <param name="what">Names the direction in errors: <c>request</c> or <c>response</c>.</param>
    /// <exception cref="RpcException">RESOURCE_EXHAUSTED, UNIMPLEMENTED (compressed) or INTERNAL (malformed, truncated).</exception>
    public static async ValueTask<T?> ReadAsync<T>(PipeReader reader, MessageParser<T> parser, int maxBytes, string what, CancellationToken cancellationToken)
        where T : class, IMessage<T>
    {
        while (true)
        {
            var read = await reader.ReadAsync(cancellationToken);
            var buffer = read.Buffer;
            if (read.IsCanceled) throw new OperationCanceledException(cancellationToken);
            if (TrySlice(buffer, maxBytes, what, out var message))
            {
                var parsed = Parse(parser, message, what);
                reader.AdvanceTo(message.End);
                return parsed;
            }
            if (read.IsCompleted)
            {
                if (buffer.IsEmpty) return null;
                throw new RpcException(StatusCode.Internal, $"{what} ended inside a message after {buffer.Length} bytes of it");
            }
            reader.AdvanceTo(buffer.Start, buffer.End);
        }
    }

    public static void Write<T>(IBufferWriter<byte> writer, T message) where T : class, IMessage<T>
    {
        var prefix = writer.GetSpan(PrefixBytes);
        prefix[0] = 0;
        BinaryPrimitives.WriteUInt32BigEndian(prefix[1..], (uint)message.CalculateSize());
        writer.Advance(PrefixBytes);
        message.WriteTo(writer);
    }

    private static bool TrySlice(ReadOnlySequence<byte> buffer, int maxBytes, string what, out ReadOnlySequence<byte> message)
    {
        message = default;
        if (buffer.Length < PrefixBytes) return false;
        Span<byte> prefix = stackalloc byte[PrefixBytes];
        buffer.Slice(0, PrefixBytes).CopyTo(prefix);
        var length = BinaryPrimitives.ReadUInt32BigEndian(prefix[1..]);
        // Judged on the prefix alone: nothing of a message that will be refused is waited for.
        if (prefix[0] == 1) throw new RpcException(StatusCode.Unimplemented, $"{what} message is compressed; only identity encoding is supported");
        if (prefix[0] != 0) throw new RpcException(StatusCode.Internal, $"{what} message begins with flag {prefix[0]}, which is not defined");
        if (length > maxBytes) throw new RpcException(StatusCode.ResourceExhausted, $"{what} message of {length} bytes; at most {maxBytes} are allowed");
        if (buffer.Length < PrefixBytes + length) return false;
        message = buffer.Slice(PrefixBytes, length);
        return true;
    }

    private static T Parse<T>(MessageParser<T> parser, ReadOnlySequence<byte> message, string what) where T : class, IMessage<T>
    {
        var bytes = message.IsSingleSegment ? message.FirstSpan : message.ToArray();
        return ForeignMessage.TryParse(parser, bytes, out var parsed, out var problem)
            ? parsed
            : throw new RpcException(StatusCode.Internal, $"{what} message is not a valid {typeof(T).Name}: {problem}");
    }
}
