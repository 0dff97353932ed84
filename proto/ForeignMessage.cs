using System.Diagnostics.CodeAnalysis;
using Google.Protobuf;
using Google.Protobuf.Reflection;

namespace AmbientMesh.Protocol;

/// <summary>Reads messages that somebody else wrote. Use this, not the parser, for everything that comes from outside the process.</summary>
/// <remarks>
/// The runtime (Google.Protobuf 3.25.1) adds a nested message's length to its position without looking for overflow: a length near 2^31 turns its limits negative,
/// and 42 bytes then make it allocate 876 MB, or fail with exceptions it never announced (found by fuzzing). So lengths are checked first, against what is there.
/// </remarks>
public static class ForeignMessage
{
    private const int MaxDepth = 100;   // the runtime's own

    /// <summary>False with a reason when the bytes are no such message.</summary>
    public static bool TryParse<T>(MessageParser<T> parser, ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out T? message, [NotNullWhen(false)] out string? problem) where T : class, IMessage<T>
    {
        message = null;
        problem = Problem(Shape<T>.Of(parser), bytes, 0);
        if (problem is not null) return false;
        try
        {
            message = parser.ParseFrom(bytes);
            return true;
        }
        catch (Exception e) when (e is InvalidProtocolBufferException or InvalidOperationException or ArgumentException or IndexOutOfRangeException or OverflowException)
        {
            problem = e.Message;
            return false;
        }
    }

    /// <summary>The first field, at any depth, that is not wholly there; null when there is none.</summary>
    private static string? Problem(MessageDescriptor message, ReadOnlySpan<byte> bytes, int depth)
    {
        if (depth > MaxDepth) return $"{message.Name}: nested too deeply";
        while (!bytes.IsEmpty)
        {
            if (!TryReadVarint(ref bytes, out var tag)) return $"{message.Name}: a field's tag is cut off";
            var length = 0UL;
            switch ((WireFormat.WireType)(tag & 7))
            {
                case WireFormat.WireType.Varint:
                    if (!TryReadVarint(ref bytes, out _)) return $"{message.Name}: field {tag >> 3} is cut off";
                    continue;
                case WireFormat.WireType.StartGroup or WireFormat.WireType.EndGroup: continue;   // what is inside stands in this message
                case WireFormat.WireType.Fixed32: length = 4; break;
                case WireFormat.WireType.Fixed64: length = 8; break;
                case WireFormat.WireType.LengthDelimited when TryReadVarint(ref bytes, out length): break;
                default: return $"{message.Name}: field {tag >> 3} has no length or wire type {tag & 7}";
            }
            if (length > (ulong)bytes.Length) return $"{message.Name}: field {tag >> 3} is longer than its message";
            var field = (tag & 7) == (ulong)WireFormat.WireType.LengthDelimited && tag >> 3 <= int.MaxValue ? message.FindFieldByNumber((int)(tag >> 3)) : null;
            if (field is { FieldType: FieldType.Message } && Problem(field.MessageType, bytes[..(int)length], depth + 1) is { } inner) return inner;
            bytes = bytes[(int)length..];
        }
        return null;
    }

    /// <summary>Base 128, least significant first, at most ten bytes.</summary>
    private static bool TryReadVarint(ref ReadOnlySpan<byte> bytes, out ulong value)
    {
        value = 0;
        for (var i = 0; i < Math.Min(bytes.Length, 10); i++)
        {
            value |= (ulong)(bytes[i] & 0x7f) << (7 * i);
            if (bytes[i] >= 0x80) continue;
            bytes = bytes[(i + 1)..];
            return true;
        }
        return false;
    }

    private static class Shape<T> where T : class, IMessage<T>
    {
        private static MessageDescriptor? _known;

        public static MessageDescriptor Of(MessageParser<T> parser) => _known ??= parser.ParseFrom(ReadOnlySpan<byte>.Empty).Descriptor;
    }
}
