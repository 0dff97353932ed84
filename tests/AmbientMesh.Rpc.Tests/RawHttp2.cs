using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace AmbientMesh.Rpc.Tests;

internal enum FrameType : byte
{
    Data = 0, Headers = 1, RstStream = 3, Settings = 4, Ping = 6, GoAway = 7, WindowUpdate = 8,
}

internal sealed record Frame(FrameType Type, byte Flags, int Stream, byte[] Payload)
{
    public bool EndStream => Type is FrameType.Data or FrameType.Headers && (Flags & 1) != 0;
    public bool IsAck => Type is FrameType.Settings or FrameType.Ping && (Flags & 1) != 0;
    public int ErrorCode => BinaryPrimitives.ReadInt32BigEndian(Payload.AsSpan(Type == FrameType.GoAway ? 4 : 0));
    public List<(string Name, string Value)> Headers => Hpack.Decode(Payload);
    public string? Header(string name) => Headers.Where(h => h.Name == name).Select(h => h.Value).FirstOrDefault();
}

/// <summary>HTTP/2 written and read frame by frame, as either end; what the libraries under test would never send can be sent here. RFC 9113 §4.1, §6.</summary>
internal sealed class RawHttp2(Stream stream) : IAsyncDisposable
{
    public const string Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    public Stream Stream => stream;

    /// <summary>As a client: connects and sends preface and SETTINGS (no dynamic header table, so that answers can be read without one).</summary>
    public static async Task<RawHttp2> ConnectAsync(int port, Func<Stream, Task<Stream>>? secure = null)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(IPAddress.Loopback, port, Patience.Token);
        Stream transport = new NetworkStream(socket, ownsSocket: true);
        var http = new RawHttp2(secure is null ? transport : await secure(transport));
        await http.Stream.WriteAsync(Encoding.ASCII.GetBytes(Preface), Patience.Token);
        await http.WriteAsync(FrameType.Settings, 0, 0, [0, 1, 0, 0, 0, 0]);
        return http;
    }

    public async Task WriteAsync(FrameType type, byte flags, int streamId, byte[] payload)
    {
        var frame = new byte[9 + payload.Length];
        frame[0] = (byte)(payload.Length >> 16);
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(1), (ushort)payload.Length);
        (frame[3], frame[4]) = ((byte)type, flags);
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(5), streamId);
        payload.CopyTo(frame, 9);
        await stream.WriteAsync(frame, Patience.Token);
        await stream.FlushAsync(Patience.Token);
    }

    public Task HeadersAsync(int streamId, bool end, params (string Name, string Value)[] headers) => WriteAsync(FrameType.Headers, (byte)(4 | (end ? 1 : 0)), streamId, Hpack.Encode(headers));

    public Task DataAsync(int streamId, byte[] payload, bool end = false) => WriteAsync(FrameType.Data, (byte)(end ? 1 : 0), streamId, payload);

    public Task ResetAsync(int streamId, int code) => WriteAsync(FrameType.RstStream, 0, streamId, [0, 0, 0, (byte)code]);

    public Task GoAwayAsync(int lastStream, int code = 0) => WriteAsync(FrameType.GoAway, 0, 0, [0, 0, 0, (byte)lastStream, 0, 0, 0, (byte)code]);

    /// <summary>The next frame; null at the end of the connection.</summary>
    public async Task<Frame?> ReadAsync()
    {
        var head = new byte[9];
        try
        {
            if (await stream.ReadAtLeastAsync(head, 9, throwOnEndOfStream: false, Patience.Token) < 9) return null;
            var payload = new byte[(head[0] << 16) | (head[1] << 8) | head[2]];
            await stream.ReadExactlyAsync(payload, Patience.Token);
            return new Frame((FrameType)head[3], head[4], BinaryPrimitives.ReadInt32BigEndian(head.AsSpan(5)) & int.MaxValue, payload);
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>Reads on until a frame fits, answering SETTINGS on the way; fails at the end of the connection.</summary>
    public async Task<Frame> ReadUntilAsync(Func<Frame, bool> fits)
    {
        while (await ReadAsync() is { } frame)
        {
            if (frame is { Type: FrameType.Settings, IsAck: false }) await WriteAsync(FrameType.Settings, 1, 0, []);
            if (fits(frame)) return frame;
        }
        throw new EndOfStreamException("the connection ended before the frame that was waited for");
    }

    /// <summary>Every HEADERS and DATA frame of a stream up to its end.</summary>
    public async Task<List<Frame>> ReadResponseAsync(int streamId)
    {
        List<Frame> frames = [];
        do frames.Add(await ReadUntilAsync(f => f.Stream == streamId && f.Type is FrameType.Headers or FrameType.Data or FrameType.RstStream));
        while (!frames[^1].EndStream && frames[^1].Type != FrameType.RstStream);
        return frames;
    }

    public ValueTask DisposeAsync() => stream.DisposeAsync();

    /// <summary>The five bytes before a message, and the message.</summary>
    public static byte[] Message(byte[] body, byte flag = 0, uint? length = null)
    {
        var frame = new byte[5 + body.Length];
        frame[0] = flag;
        BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(1), length ?? (uint)body.Length);
        body.CopyTo(frame, 5);
        return frame;
    }
}

/// <summary>Just enough of RFC 7541 for tests: literals without Huffman, and the static table.</summary>
internal static class Hpack
{
    private static readonly (string Name, string Value)[] Static = [
        ("", ""), (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"), (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
        (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""), ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""), ("access-control-allow-origin", ""),
        ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""), ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""), ("content-location", ""), ("content-range", ""),
        ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
        ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
        ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""), ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""), ("www-authenticate", "")];

    public static byte[] Encode(IEnumerable<(string Name, string Value)> headers)
    {
        List<byte> block = [];
        foreach (var (name, value) in headers)
        {
            block.Add(0);   // literal without indexing, new name
            foreach (var text in new[] { name, value })
            {
                Integer(block, text.Length, 7);
                block.AddRange(Encoding.ASCII.GetBytes(text));
            }
        }
        return [.. block];
    }

    public static List<(string Name, string Value)> Decode(byte[] block)
    {
        List<(string, string)> headers = [];
        for (var at = 0; at < block.Length;)
        {
            var b = block[at];
            if ((b & 0x80) != 0) headers.Add(Static[Integer(block, ref at, 7)]);
            else if ((b & 0xe0) == 0x20) Integer(block, ref at, 5);   // table size update
            else
            {
                var index = Integer(block, ref at, (b & 0x40) != 0 ? 6 : 4);
                var name = index > 0 ? Static[index].Name : Text(block, ref at);
                headers.Add((name, Text(block, ref at)));
            }
        }
        return headers;
    }

    private static string Text(byte[] block, ref int at)
    {
        if ((block[at] & 0x80) != 0) throw new NotSupportedException("Huffman");
        var length = Integer(block, ref at, 7);
        at += length;
        return Encoding.ASCII.GetString(block, at - length, length);
    }

    private static int Integer(byte[] block, ref int at, int bits)
    {
        var max = (1 << bits) - 1;
        var value = block[at++] & max;
        if (value < max) return value;
        for (var shift = 0; ; shift += 7)
        {
            value += (block[at] & 0x7f) << shift;
            if ((block[at++] & 0x80) == 0) return value;
        }
    }

    private static void Integer(List<byte> block, int value, int bits)
    {
        var max = (1 << bits) - 1;
        if (value < max)
        {
            block.Add((byte)value);
            return;
        }
        block.Add((byte)max);
        for (value -= max; value >= 128; value >>= 7) block.Add((byte)(value & 0x7f | 0x80));
        block.Add((byte)value);
    }
}
