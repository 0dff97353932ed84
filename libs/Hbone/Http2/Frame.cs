using System.Buffers.Binary;

namespace AmbientMesh.Hbone.Http2;

/// <summary>Frame types (RFC 9113 §6); others exist and are ignored.</summary>
public enum FrameType : byte
{
    Data = 0,
    Headers = 1,
    Priority = 2,
    RstStream = 3,
    Settings = 4,
    PushPromise = 5,
    Ping = 6,
    GoAway = 7,
    WindowUpdate = 8,
    Continuation = 9,
}

[Flags]
public enum FrameFlags : byte
{
    None = 0,
    /// <summary>DATA and HEADERS: the sender's side of the stream ends here.</summary>
    EndStream = 1,
    /// <summary>SETTINGS and PING: acknowledgement.</summary>
    Ack = EndStream,
    EndHeaders = 4,
    Padded = 8,
    Priority = 0x20,
}

/// <summary>The nine bytes before every payload (RFC 9113 §4.1).</summary>
/// <remarks><code>
/// 0..2 length   3 type   4 flags   5..8 reserved bit + stream id
/// </code></remarks>
public readonly record struct FrameHeader(int Length, FrameType Type, FrameFlags Flags, int StreamId)
{
    public const int Size = 9;

    public bool Has(FrameFlags flag) => (Flags & flag) != 0;

    public static FrameHeader Read(ReadOnlySpan<byte> bytes) => new(
        (bytes[0] << 16) | (bytes[1] << 8) | bytes[2],
        (FrameType)bytes[3],
        (FrameFlags)bytes[4],
        (int)(BinaryPrimitives.ReadUInt32BigEndian(bytes[5..]) & 0x7fff_ffff));

    public void Write(Span<byte> bytes)
    {
        bytes[0] = (byte)(Length >> 16);
        bytes[1] = (byte)(Length >> 8);
        bytes[2] = (byte)Length;
        bytes[3] = (byte)Type;
        bytes[4] = (byte)Flags;
        BinaryPrimitives.WriteInt32BigEndian(bytes[5..], StreamId);
    }
}
