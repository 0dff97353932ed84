using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>One SPDY/3.1 frame as far as port-forward uses them.</summary>
/// <param name="Type">Control frame type; 0 for data.</param>
internal readonly record struct SpdyFrame(int Type, int Stream, byte Flags, byte[] Payload)
{
    public const int Data = 0, SynStream = 1, SynReply = 2, Reset = 3, Settings = 4, Ping = 6, GoAway = 7, WindowUpdate = 9;

    /// <summary>The sender sends no more on this stream.</summary>
    public bool IsFinal => (Flags & 1) != 0;
}

/// <summary>
/// Reads and writes SPDY/3.1 frames (draft-mbelshe-httpbis-spdy-00 §2.2): 8 bytes of header, then the payload.
/// <code>
/// control: 1 version(15) type(16) flags(8) length(24)      data: 0 stream(31) flags(8) length(24)
/// </code>
/// Header blocks are deflated with one shared dictionary and one state per direction.
/// </summary>
internal sealed class SpdyFrames(Stream transport) : IDisposable
{
    private const int LongestPayload = 1 << 24;
    private readonly SemaphoreSlim _turn = new(1);
    private readonly MemoryStream _inflateInput = new();
    private bool _hasReplied;
    private DeflateStream? _inflate;

    /// <summary>The next frame; null at the end of the connection.</summary>
    public async Task<SpdyFrame?> ReadAsync(CancellationToken cancellationToken)
    {
        var header = new byte[8];
        if (await transport.ReadAtLeastAsync(header, 8, throwOnEndOfStream: false, cancellationToken) < 8) return null;
        var length = BinaryPrimitives.ReadInt32BigEndian(header.AsSpan(4)) & 0xffffff;
        if (length >= LongestPayload) throw new InvalidDataException("SPDY frame too long");
        var payload = new byte[length];
        await transport.ReadExactlyAsync(payload, cancellationToken);
        var word = BinaryPrimitives.ReadUInt32BigEndian(header);
        if ((word & 0x80000000) == 0) return new SpdyFrame(SpdyFrame.Data, (int)word, header[4], payload);
        var type = (int)(word & 0xffff);
        var stream = payload.Length >= 4 && type is SpdyFrame.SynStream or SpdyFrame.SynReply or SpdyFrame.Reset or SpdyFrame.WindowUpdate
            ? (int)(BinaryPrimitives.ReadUInt32BigEndian(payload) & 0x7fffffff) : 0;
        return new SpdyFrame(type, stream, header[4], payload);
    }

    public async Task WriteDataAsync(int stream, ReadOnlyMemory<byte> data, bool final, CancellationToken cancellationToken)
    {
        var frame = new byte[8 + data.Length];
        BinaryPrimitives.WriteInt32BigEndian(frame, stream);
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(4), data.Length);
        frame[4] = (byte)(final ? 1 : 0);
        data.CopyTo(frame.AsMemory(8));
        await WriteAsync(frame, cancellationToken);
    }

    public async Task WriteControlAsync(int type, byte flags, ReadOnlyMemory<byte> payload, CancellationToken cancellationToken)
    {
        var frame = new byte[8 + payload.Length];
        BinaryPrimitives.WriteUInt32BigEndian(frame, 0x80030000u | (uint)type);
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(4), payload.Length);
        frame[4] = flags;
        payload.CopyTo(frame.AsMemory(8));
        await WriteAsync(frame, cancellationToken);
    }

    private async Task WriteAsync(byte[] frame, CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken);
        try
        {
            await transport.WriteAsync(frame, cancellationToken);
            await transport.FlushAsync(cancellationToken);
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <summary>Agrees to a stream without headers of our own.</summary>
    public Task ReplyAsync(int stream, CancellationToken cancellationToken)
    {
        var block = EmptyHeaderBlock();
        var payload = new byte[4 + block.Length];
        BinaryPrimitives.WriteInt32BigEndian(payload, stream);
        block.CopyTo(payload, 4);
        return WriteControlAsync(SpdyFrame.SynReply, 0, payload, cancellationToken);
    }

    /// <summary>
    /// A header block of no headers in deflate's stored form, which needs no dictionary: the first one with the zlib header that names the
    /// dictionary, each with an empty stored block behind it as the flush that SPDY asks for.
    /// </summary>
    private byte[] EmptyHeaderBlock()
    {
        byte[] stored = [0x00, 0x04, 0x00, 0xfb, 0xff, 0, 0, 0, 0, 0x00, 0x00, 0x00, 0xff, 0xff];
        var isFirst = !_hasReplied;
        _hasReplied = true;
        return isFirst ? [0x78, 0xf9, 0xe3, 0xc6, 0xa7, 0xc2, .. stored] : stored;
    }

    /// <summary>Headers of a SYN_STREAM.</summary>
    public Dictionary<string, string> Headers(SpdyFrame frame)
    {
        var compressed = frame.Payload.AsSpan(10);
        if (_inflate is null)
        {
            // zlib header (2) and dictionary id (4); .NET cannot be given a dictionary, so the dictionary goes first as a stored block.
            compressed = compressed[6..];
            _inflate = new DeflateStream(_inflateInput, CompressionMode.Decompress);
            Feed(StoredDictionary());
            Drain(SpdyDictionary.Bytes.Length);
        }
        Feed(compressed);
        var plain = Drain(int.MaxValue);
        return Parse(plain);
    }

    private static byte[] StoredDictionary()
    {
        var dictionary = SpdyDictionary.Bytes;
        var block = new byte[5 + dictionary.Length];
        BinaryPrimitives.WriteUInt16LittleEndian(block.AsSpan(1), (ushort)dictionary.Length);
        BinaryPrimitives.WriteUInt16LittleEndian(block.AsSpan(3), (ushort)~dictionary.Length);
        dictionary.CopyTo(block, 5);
        return block;
    }

    private void Feed(ReadOnlySpan<byte> data)
    {
        _inflateInput.SetLength(0);
        _inflateInput.Write(data);
        _inflateInput.Position = 0;
    }

    private byte[] Drain(int most)
    {
        using var plain = new MemoryStream();
        var buffer = new byte[4096];
        int read;
        while (plain.Length < most && (read = _inflate!.Read(buffer, 0, (int)Math.Min(buffer.Length, most - plain.Length))) > 0) plain.Write(buffer, 0, read);
        return plain.ToArray();
    }

    private static Dictionary<string, string> Parse(ReadOnlySpan<byte> block)
    {
        var headers = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        var count = Int(ref block);
        for (var i = 0; i < count; i++)
        {
            var name = Text(ref block);
            headers[name] = Text(ref block);
        }
        return headers;
    }

    private static int Int(ref ReadOnlySpan<byte> block)
    {
        if (block.Length < 4) throw new InvalidDataException("SPDY header block ends early");
        var value = BinaryPrimitives.ReadInt32BigEndian(block);
        block = block[4..];
        return value;
    }

    private static string Text(ref ReadOnlySpan<byte> block)
    {
        var length = Int(ref block);
        if (length < 0 || length > block.Length) throw new InvalidDataException("SPDY header block ends early");
        var text = Encoding.ASCII.GetString(block[..length]);
        block = block[length..];
        return text;
    }

    public void Dispose()
    {
        _turn.Dispose();
        _inflate?.Dispose();
        _inflateInput.Dispose();
    }
}
