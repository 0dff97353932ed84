using System.Buffers.Binary;
using System.Text;

namespace AmbientMesh.Hbone.Http2;

/// <summary>Appends frames to an output buffer; pure layout, no state.</summary>
internal static class FrameWriter
{
    public static ReadOnlySpan<byte> Preface => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8;

    public static void Settings(OutputBuffer output, ReadOnlySpan<(SettingId Id, uint Value)> settings)
    {
        Header(output, settings.Length * 6, FrameType.Settings, FrameFlags.None, 0);
        foreach (var (id, value) in settings)
        {
            var span = output.GetSpan(6);
            BinaryPrimitives.WriteUInt16BigEndian(span, (ushort)id);
            BinaryPrimitives.WriteUInt32BigEndian(span[2..], value);
            output.Advance(6);
        }
    }

    public static void SettingsAck(OutputBuffer output) => Header(output, 0, FrameType.Settings, FrameFlags.Ack, 0);

    public static void Ping(OutputBuffer output, ulong payload, bool ack)
    {
        Header(output, 8, FrameType.Ping, ack ? FrameFlags.Ack : FrameFlags.None, 0);
        BinaryPrimitives.WriteUInt64BigEndian(output.GetSpan(8), payload);
        output.Advance(8);
    }

    public static void WindowUpdate(OutputBuffer output, int streamId, int increment)
    {
        Header(output, 4, FrameType.WindowUpdate, FrameFlags.None, streamId);
        UInt32(output, (uint)increment);
    }

    public static void RstStream(OutputBuffer output, int streamId, ErrorCode code)
    {
        Header(output, 4, FrameType.RstStream, FrameFlags.None, streamId);
        UInt32(output, (uint)code);
    }

    public static void GoAway(OutputBuffer output, int lastStreamId, ErrorCode code, string debug = "")
    {
        var text = Encoding.UTF8.GetBytes(debug);
        Header(output, 8 + text.Length, FrameType.GoAway, FrameFlags.None, 0);
        UInt32(output, (uint)lastStreamId);
        UInt32(output, (uint)code);
        output.Append(text);
    }

    /// <summary>A header block as HEADERS and as many CONTINUATION frames as the peer's frame size asks for.</summary>
    public static void Headers(OutputBuffer output, int streamId, ReadOnlySpan<byte> block, bool endStream, int maxFrameSize)
    {
        var flags = endStream ? FrameFlags.EndStream : FrameFlags.None;
        var type = FrameType.Headers;
        do
        {
            var part = block[..Math.Min(block.Length, maxFrameSize)];
            block = block[part.Length..];
            Header(output, part.Length, type, block.IsEmpty ? flags | FrameFlags.EndHeaders : flags, streamId);
            output.Append(part);
            type = FrameType.Continuation;
            flags = FrameFlags.None;
        }
        while (!block.IsEmpty);
    }

    public static void Data(OutputBuffer output, int streamId, ReadOnlySpan<byte> payload, bool endStream)
    {
        Header(output, payload.Length, FrameType.Data, endStream ? FrameFlags.EndStream : FrameFlags.None, streamId);
        output.Append(payload);
    }

    private static void Header(OutputBuffer output, int length, FrameType type, FrameFlags flags, int streamId)
    {
        new FrameHeader(length, type, flags, streamId).Write(output.GetSpan(FrameHeader.Size));
        output.Advance(FrameHeader.Size);
    }

    private static void UInt32(OutputBuffer output, uint value)
    {
        BinaryPrimitives.WriteUInt32BigEndian(output.GetSpan(4), value);
        output.Advance(4);
    }
}
