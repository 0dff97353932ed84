using System.Buffers.Binary;
using AmbientMesh.Hbone.Hpack;
using AmbientMesh.Hbone.Http2;

namespace AmbientMesh.Hbone.Tests;

/// <summary>A frame as seen on the wire.</summary>
internal sealed record RawFrame(FrameHeader Header, byte[] Payload)
{
    public byte[] Bytes
    {
        get
        {
            var bytes = new byte[FrameHeader.Size + Payload.Length];
            Header.Write(bytes);
            Payload.CopyTo(bytes, FrameHeader.Size);
            return bytes;
        }
    }

    public ErrorCode Code => (ErrorCode)BinaryPrimitives.ReadUInt32BigEndian(Payload.AsSpan(Header.Type == FrameType.GoAway ? 4 : 0));
    public override string ToString() => $"{Header.Type} stream {Header.StreamId} flags {(byte)Header.Flags} {Convert.ToHexStringLower(Payload.AsSpan(0, Math.Min(40, Payload.Length)))}";
}

/// <summary>The other end of a tunnel, speaking frames by hand over a plain connection.</summary>
internal sealed class RawPeer(ITransport transport)
{
    private readonly HpackDecoder _decoder = new(1 << 20);
    private readonly HpackEncoder _encoder = new();

    public ITransport Transport => transport;

    /// <summary>A server of ours, and a raw client that has sent preface and SETTINGS, and acknowledged ours.</summary>
    public static async Task<(HboneServerConnection Server, RawPeer Client)> ToServerAsync(HboneOptions? options = null, TimeProvider? clock = null, bool greet = true)
    {
        var (client, server) = await Loopback.PairAsync();
        var peer = new RawPeer(client);
        var connection = HboneServerConnection.Start(server, options ?? new(), clock: clock);
        if (!greet) return (connection, peer);
        await peer.GreetAsync();
        await peer.SkipToAsync(f => f.Header is { Type: FrameType.Settings, Flags: FrameFlags.Ack });
        await peer.SkipToAsync(f => f.Header.Type == FrameType.WindowUpdate);
        return (connection, peer);
    }

    /// <summary>A client of ours, and a raw server that has sent SETTINGS.</summary>
    public static async Task<(HboneClientConnection Client, RawPeer Server)> ToClientAsync(
        HboneOptions? options = null, TimeProvider? clock = null, params (SettingId, uint)[] settings)
    {
        var (client, server) = await Loopback.PairAsync();
        var peer = new RawPeer(server);
        var connection = HboneClientConnection.Start(client, options ?? new(), clock: clock);
        await peer.SettingsAsync(settings);
        Assert.Equal(FrameWriter.Preface.ToArray(), await server.ReadExactlyAsync(FrameWriter.Preface.Length));
        await Patience.Within(connection.SettingsReceived);
        return (connection, peer);
    }

    public async Task GreetAsync()
    {
        await SendAsync(FrameWriter.Preface.ToArray());
        await SettingsAsync();
        await FrameAsync(FrameType.Settings, FrameFlags.Ack, 0);
    }

    public async Task SendAsync(byte[] bytes) => await transport.WriteAsync(bytes, Patience.Token);

    public Task FrameAsync(FrameType type, FrameFlags flags, int stream, params byte[] payload) =>
        SendAsync(new RawFrame(new FrameHeader(payload.Length, type, flags, stream), payload).Bytes);

    public Task SettingsAsync(params (SettingId Id, uint Value)[] settings)
    {
        var payload = new byte[settings.Length * 6];
        for (var i = 0; i < settings.Length; i++)
        {
            BinaryPrimitives.WriteUInt16BigEndian(payload.AsSpan(i * 6), (ushort)settings[i].Id);
            BinaryPrimitives.WriteUInt32BigEndian(payload.AsSpan((i * 6) + 2), settings[i].Value);
        }
        return FrameAsync(FrameType.Settings, FrameFlags.None, 0, payload);
    }

    public Task WindowUpdateAsync(int stream, uint increment) => FrameAsync(FrameType.WindowUpdate, FrameFlags.None, stream, UInt32(increment));
    public Task ResetAsync(int stream, ErrorCode code) => FrameAsync(FrameType.RstStream, FrameFlags.None, stream, UInt32((uint)code));
    public Task PingAsync(ulong payload = 1, FrameFlags flags = FrameFlags.None) => FrameAsync(FrameType.Ping, flags, 0, [.. UInt32((uint)(payload >> 32)), .. UInt32((uint)payload)]);

    public byte[] Block(params HeaderField[] fields)
    {
        var output = new OutputBuffer(256);
        _encoder.Encode(fields, output);
        return output.Written.ToArray();
    }

    public static HeaderField[] ConnectFields(string authority = "10.0.0.1:80") => [new(":method", "CONNECT"), new(":authority", authority)];

    public Task HeadersAsync(int stream, HeaderField[] fields, FrameFlags flags = FrameFlags.EndHeaders) =>
        FrameAsync(FrameType.Headers, flags, stream, Block(fields));

    public Task ConnectAsync(int stream, string authority = "10.0.0.1:80", bool end = false) =>
        HeadersAsync(stream, ConnectFields(authority), end ? FrameFlags.EndHeaders | FrameFlags.EndStream : FrameFlags.EndHeaders);

    /// <summary>The next frame; null at the end of the connection.</summary>
    public async Task<RawFrame?> NextAsync()
    {
        var header = new byte[FrameHeader.Size];
        if (!await ReadFullyAsync(header)) return null;
        var parsed = FrameHeader.Read(header);
        var payload = new byte[parsed.Length];
        Assert.True(parsed.Length == 0 || await ReadFullyAsync(payload), "The connection ended inside a frame.");
        return new RawFrame(parsed, payload);
    }

    /// <summary>The next frame that satisfies <paramref name="wanted"/>; others are passed over.</summary>
    public async Task<RawFrame> SkipToAsync(Func<RawFrame, bool> wanted)
    {
        var seen = new List<RawFrame>();
        while (await NextAsync() is { } frame)
        {
            if (wanted(frame)) return frame;
            seen.Add(frame);
        }
        throw new InvalidOperationException($"The connection ended; before that came: {string.Join(" | ", seen)}");
    }

    public Task<RawFrame> GoAwayAsync() => SkipToAsync(f => f.Header.Type == FrameType.GoAway);
    public Task<RawFrame> ResetOfAsync(int stream) => SkipToAsync(f => f.Header.Type == FrameType.RstStream && f.Header.StreamId == stream);
    public Task<RawFrame> HeadersOfAsync(int stream) => SkipToAsync(f => f.Header.Type == FrameType.Headers && f.Header.StreamId == stream);

    public List<HeaderField> Decode(RawFrame headers)
    {
        var fields = new List<HeaderField>();
        Assert.Equal(HpackVerdict.Ok, _decoder.Decode(headers.Payload, fields));
        return fields;
    }

    /// <summary>Proves that the connection lives: a PING is answered.</summary>
    public async Task AssertAliveAsync(ulong payload = 0xa11e)
    {
        await PingAsync(payload);
        await SkipToAsync(f => f.Header is { Type: FrameType.Ping, Flags: FrameFlags.Ack } && BinaryPrimitives.ReadUInt64BigEndian(f.Payload) == payload);
    }

    /// <summary>Proves that the connection ends.</summary>
    public async Task AssertClosedAsync()
    {
        try
        {
            while (await NextAsync() is not null) { }
        }
        catch (IOException)
        {
            // Reset: closed as well.
        }
    }

    public static byte[] UInt32(uint value)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        return bytes;
    }

    private async Task<bool> ReadFullyAsync(byte[] buffer)
    {
        for (var got = 0; got < buffer.Length;)
        {
            var count = await transport.ReadAsync(buffer.AsMemory(got), Patience.Token);
            if (count == 0) return false;
            got += count;
        }
        return true;
    }
}
