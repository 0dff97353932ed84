using AmbientMesh.Hbone.Hpack;
using AmbientMesh.Hbone.Http2;

namespace AmbientMesh.Hbone.Tests;

/// <summary>RFC 9113 against our server end: the groups of h2spec that apply to a server which knows CONNECT alone (threats.md).</summary>
public class ConformanceTests
{
    private static readonly HeaderField[] Get = [new(":method", "GET"), new(":scheme", "https"), new(":path", "/"), new(":authority", "x:1")];

    private sealed record Case(Func<RawPeer, Task> Act, ErrorCode Code, int? ResetStream = null);

    private static Case GoAway(ErrorCode code, Func<RawPeer, Task> act) => new(act, code);
    private static Case Reset(int stream, ErrorCode code, Func<RawPeer, Task> act) => new(act, code, stream);
    private static byte[] U32(uint value) => RawPeer.UInt32(value);

    private static Func<RawPeer, Task> Frame(FrameType type, FrameFlags flags, int stream, params byte[] payload) => p => p.FrameAsync(type, flags, stream, payload);

    private static Func<RawPeer, Task> Open(Func<RawPeer, Task> then, bool end = false) => async p =>
    {
        await p.ConnectAsync(1, end: end);
        await then(p);
    };

    private static Func<RawPeer, Task> Fields(params HeaderField[] fields) => p => p.HeadersAsync(1, fields);

    private static readonly Dictionary<string, Case> Refusals = new()
    {
        ["4.1 a frame larger than announced"] = GoAway(ErrorCode.FrameSizeError, p => p.SendAsync([0x10, 0, 1, 0, 0, 0, 0, 0, 1])),
        ["4.2 a large frame that changes connection state"] = GoAway(ErrorCode.FrameSizeError, p => p.SendAsync([0x20, 0, 0, 4, 0, 0, 0, 0, 0])),
        ["4.3 a header block that is not HPACK"] = GoAway(ErrorCode.CompressionError, Frame(FrameType.Headers, FrameFlags.EndHeaders, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f)),
        ["4.3 a DATA frame inside a header block"] = GoAway(ErrorCode.ProtocolError, async p =>
        {
            await p.FrameAsync(FrameType.Headers, FrameFlags.None, 1, p.Block(RawPeer.ConnectFields()));
            await p.FrameAsync(FrameType.Data, FrameFlags.None, 1, 1);
        }),
        ["4.3 another stream's HEADERS inside a header block"] = GoAway(ErrorCode.ProtocolError, async p =>
        {
            await p.FrameAsync(FrameType.Headers, FrameFlags.None, 1, p.Block(RawPeer.ConnectFields()));
            await p.ConnectAsync(3);
        }),
        ["5.1 idle: DATA"] = GoAway(ErrorCode.ProtocolError, Frame(FrameType.Data, FrameFlags.EndStream, 1, 1)),
        ["5.1 idle: RST_STREAM"] = GoAway(ErrorCode.ProtocolError, Frame(FrameType.RstStream, FrameFlags.None, 1, U32(8))),
        ["5.1 idle: WINDOW_UPDATE"] = GoAway(ErrorCode.ProtocolError, Frame(FrameType.WindowUpdate, FrameFlags.None, 1, U32(8))),
        ["5.1 idle: CONTINUATION"] = GoAway(ErrorCode.ProtocolError, Frame(FrameType.Continuation, FrameFlags.EndHeaders, 1, 0x82)),
        ["5.1 half-closed: DATA"] = Reset(1, ErrorCode.StreamClosed, Open(Frame(FrameType.Data, FrameFlags.None, 1, 1), end: true)),
        ["5.1 half-closed: HEADERS"] = Reset(1, ErrorCode.StreamClosed, Open(p => p.ConnectAsync(1), end: true)),
        ["5.1 closed by the peer's reset: DATA"] = Reset(1, ErrorCode.StreamClosed, Open(async p =>
        {
            await p.ResetAsync(1, ErrorCode.Cancel);
            await p.FrameAsync(FrameType.Data, FrameFlags.None, 1, 1);
        })),
        ["5.1 closed by the peer's reset: HEADERS"] = GoAway(ErrorCode.StreamClosed, Open(async p =>
        {
            await p.ResetAsync(1, ErrorCode.Cancel);
            await p.ConnectAsync(1);
        })),
        ["5.1.1 an even stream id"] = GoAway(ErrorCode.ProtocolError, p => p.ConnectAsync(2)),
        ["5.1.1 a stream id that went by"] = GoAway(ErrorCode.StreamClosed, async p =>
        {
            await p.ConnectAsync(5);
            await p.ResetAsync(5, ErrorCode.Cancel);
            await p.ConnectAsync(3);
        }),
        ["5.5 an unknown frame inside a header block"] = GoAway(ErrorCode.ProtocolError, async p =>
        {
            await p.FrameAsync(FrameType.Headers, FrameFlags.None, 1, p.Block(RawPeer.ConnectFields()));
            await p.FrameAsync((FrameType)0xfe, FrameFlags.None, 0, 1, 2);
        }),
        ["6.1 DATA on stream 0"] = GoAway(ErrorCode.ProtocolError, Frame(FrameType.Data, FrameFlags.None, 0, 1)),
        ["6.1 DATA with more padding than payload"] = GoAway(ErrorCode.ProtocolError, Open(Frame(FrameType.Data, FrameFlags.Padded, 1, 6, 1, 2))),
        ["6.1 padded DATA without a padding length"] = GoAway(ErrorCode.FrameSizeError, Open(Frame(FrameType.Data, FrameFlags.Padded, 1))),
        ["6.2 HEADERS on stream 0"] = GoAway(ErrorCode.ProtocolError, p => p.ConnectAsync(0)),
        ["6.2 HEADERS with more padding than payload"] = GoAway(ErrorCode.ProtocolError, Frame(FrameType.Headers, FrameFlags.EndHeaders | FrameFlags.Padded, 1, 9, 0x82)),
        ["6.4 RST_STREAM on stream 0"] = GoAway(ErrorCode.ProtocolError, Frame(FrameType.RstStream, FrameFlags.None, 0, U32(8))),
        ["6.4 RST_STREAM of another length"] = GoAway(ErrorCode.FrameSizeError, Open(Frame(FrameType.RstStream, FrameFlags.None, 1, 0, 0, 8))),
        ["6.5 SETTINGS acknowledgement with payload"] = GoAway(ErrorCode.FrameSizeError, Frame(FrameType.Settings, FrameFlags.Ack, 0, 0, 0, 0, 0, 0, 0)),
        ["6.5 SETTINGS on a stream"] = GoAway(ErrorCode.ProtocolError, Frame(FrameType.Settings, FrameFlags.None, 1)),
        ["6.5 SETTINGS of another length"] = GoAway(ErrorCode.FrameSizeError, Frame(FrameType.Settings, FrameFlags.None, 0, 1, 2, 3)),
        ["6.5.2 ENABLE_PUSH 2"] = GoAway(ErrorCode.ProtocolError, p => p.SettingsAsync((SettingId.EnablePush, 2))),
        ["6.5.2 INITIAL_WINDOW_SIZE above 2^31-1"] = GoAway(ErrorCode.FlowControlError, p => p.SettingsAsync((SettingId.InitialWindowSize, 0x8000_0000))),
        ["6.5.2 MAX_FRAME_SIZE below 16384"] = GoAway(ErrorCode.ProtocolError, p => p.SettingsAsync((SettingId.MaxFrameSize, 16383))),
        ["6.5.2 MAX_FRAME_SIZE above 2^24-1"] = GoAway(ErrorCode.ProtocolError, p => p.SettingsAsync((SettingId.MaxFrameSize, 1 << 24))),
        ["6.6 PUSH_PROMISE"] = GoAway(ErrorCode.ProtocolError, Open(Frame(FrameType.PushPromise, FrameFlags.EndHeaders, 1, 0, 0, 0, 2, 0x82))),
        ["6.7 PING on a stream"] = GoAway(ErrorCode.ProtocolError, Frame(FrameType.Ping, FrameFlags.None, 1, new byte[8])),
        ["6.7 PING of another length"] = GoAway(ErrorCode.FrameSizeError, Frame(FrameType.Ping, FrameFlags.None, 0, new byte[6])),
        ["6.8 GOAWAY on a stream"] = GoAway(ErrorCode.ProtocolError, Frame(FrameType.GoAway, FrameFlags.None, 1, new byte[8])),
        ["6.9 WINDOW_UPDATE by 0 on the connection"] = GoAway(ErrorCode.ProtocolError, p => p.WindowUpdateAsync(0, 0)),
        ["6.9 WINDOW_UPDATE by 0 on a stream"] = Reset(1, ErrorCode.ProtocolError, Open(p => p.WindowUpdateAsync(1, 0))),
        ["6.9 WINDOW_UPDATE of another length"] = GoAway(ErrorCode.FrameSizeError, Frame(FrameType.WindowUpdate, FrameFlags.None, 0, 1, 2, 3)),
        ["6.9.1 connection window above 2^31-1"] = GoAway(ErrorCode.FlowControlError, async p =>
        {
            await p.WindowUpdateAsync(0, 0x7fff_ffff);
            await p.WindowUpdateAsync(0, 0x7fff_ffff);
        }),
        ["6.9.1 stream window above 2^31-1"] = Reset(1, ErrorCode.FlowControlError, Open(p => p.WindowUpdateAsync(1, 0x7fff_ffff))),
        ["6.9.2 SETTINGS that lift a stream's window above 2^31-1"] = GoAway(ErrorCode.FlowControlError, Open(async p =>
        {
            await p.WindowUpdateAsync(1, 0x7fff_ffff - 65535);
            await p.SettingsAsync((SettingId.InitialWindowSize, 65536));
        })),
        ["6.10 CONTINUATION after END_HEADERS"] = GoAway(ErrorCode.ProtocolError, Open(Frame(FrameType.Continuation, FrameFlags.EndHeaders, 1, 0x82))),
        ["6.10 CONTINUATION on stream 0"] = GoAway(ErrorCode.ProtocolError, async p =>
        {
            await p.FrameAsync(FrameType.Headers, FrameFlags.None, 1, p.Block(RawPeer.ConnectFields()));
            await p.FrameAsync(FrameType.Continuation, FrameFlags.EndHeaders, 0, 0x82);
        }),
        ["8.1 a second HEADERS on a connected stream"] = Reset(1, ErrorCode.ProtocolError, Open(p => p.ConnectAsync(1))),
        ["8.2 an upper-case header name"] = Reset(1, ErrorCode.ProtocolError, Fields([.. RawPeer.ConnectFields(), new("X-Test", "1")])),
        ["8.2 a connection-specific header"] = Reset(1, ErrorCode.ProtocolError, Fields([.. RawPeer.ConnectFields(), new("connection", "keep-alive")])),
        ["8.2 TE other than trailers"] = Reset(1, ErrorCode.ProtocolError, Fields([.. RawPeer.ConnectFields(), new("te", "gzip")])),
        ["8.2 a line break in a value"] = Reset(1, ErrorCode.ProtocolError, Fields([.. RawPeer.ConnectFields(), new("x", "a\r\nb: c")])),
        ["8.3 an unknown pseudo header"] = Reset(1, ErrorCode.ProtocolError, Fields([.. RawPeer.ConnectFields(), new(":test", "1")])),
        ["8.3 a response pseudo header"] = Reset(1, ErrorCode.ProtocolError, Fields([.. RawPeer.ConnectFields(), new(":status", "200")])),
        ["8.3 a pseudo header after a regular one"] = Reset(1, ErrorCode.ProtocolError, Fields(new(":method", "CONNECT"), new("x", "1"), new(":authority", "x:1"))),
        ["8.3.1 no method"] = Reset(1, ErrorCode.ProtocolError, Fields(new HeaderField(":authority", "x:1"))),
        ["8.3.1 two methods"] = Reset(1, ErrorCode.ProtocolError, Fields(new(":method", "CONNECT"), new(":method", "CONNECT"), new(":authority", "x:1"))),
        ["8.3.1 two authorities"] = Reset(1, ErrorCode.ProtocolError, Fields([.. RawPeer.ConnectFields(), new(":authority", "y:1")])),
        ["8.3.1 GET with an empty path"] = Reset(1, ErrorCode.ProtocolError, Fields(new(":method", "GET"), new(":scheme", "https"), new(":path", ""), new(":authority", "x:1"))),
        ["8.3.1 GET without a scheme"] = Reset(1, ErrorCode.ProtocolError, Fields(new(":method", "GET"), new(":path", "/"), new(":authority", "x:1"))),
        ["8.5 CONNECT with a scheme"] = Reset(1, ErrorCode.ProtocolError, Fields([.. RawPeer.ConnectFields(), new(":scheme", "https")])),
        ["8.5 CONNECT with a path"] = Reset(1, ErrorCode.ProtocolError, Fields([.. RawPeer.ConnectFields(), new(":path", "/")])),
        ["RFC 8441 extended CONNECT, which was not offered"] = Reset(1, ErrorCode.ProtocolError, Fields([.. RawPeer.ConnectFields(), new(":protocol", "websocket")])),
        ["hpack 2.3.3 an index outside both tables"] = GoAway(ErrorCode.CompressionError, Frame(FrameType.Headers, FrameFlags.EndHeaders, 1, 0xbf + 0x20)),
        ["hpack 4.2 a table size update after a field"] = GoAway(ErrorCode.CompressionError, Frame(FrameType.Headers, FrameFlags.EndHeaders, 1, 0x82, 0x20)),
        ["hpack 5.2 padding longer than 7 bits"] = GoAway(ErrorCode.CompressionError, Frame(FrameType.Headers, FrameFlags.EndHeaders, 1, 0x82, 0x41, 0x82, 0x1f, 0xff)),
        ["hpack 5.2 padding that is not ones"] = GoAway(ErrorCode.CompressionError, Frame(FrameType.Headers, FrameFlags.EndHeaders, 1, 0x82, 0x41, 0x81, 0x18)),
        ["hpack 5.2 an encoded end of string"] = GoAway(ErrorCode.CompressionError, Frame(FrameType.Headers, FrameFlags.EndHeaders, 1, 0x82, 0x41, 0x84, 0xff, 0xff, 0xff, 0xff)),
        ["hpack 6.1 index 0"] = GoAway(ErrorCode.CompressionError, Frame(FrameType.Headers, FrameFlags.EndHeaders, 1, 0x80)),
        ["hpack 6.3 a table size above the limit"] = GoAway(ErrorCode.CompressionError, Frame(FrameType.Headers, FrameFlags.EndHeaders, 1, 0x3f, 0xe2, 0x1f, 0x82)),
    };

    public static TheoryData<string> RefusalNames => [.. Refusals.Keys];

    [Theory]
    [MemberData(nameof(RefusalNames))]
    [Scenario("T-08", "T-10")]
    public async Task A_broken_rule_has_its_error(string name)
    {
        var expected = Refusals[name];
        var (_, peer) = await RawPeer.ToServerAsync();
        await expected.Act(peer);
        if (expected.ResetStream is { } stream)
        {
            Assert.Equal(expected.Code, (await peer.ResetOfAsync(stream)).Code);
            await peer.AssertAliveAsync();   // a stream error leaves the connection alone
            return;
        }
        Assert.Equal(expected.Code, (await peer.GoAwayAsync()).Code);
        await peer.AssertClosedAsync();
    }

    private static readonly Dictionary<string, Func<RawPeer, Task>> Allowed = new()
    {
        ["4.1 an unknown frame type"] = Frame((FrameType)0x16, FrameFlags.None, 0, new byte[8]),
        ["4.1 undefined flags"] = Frame(FrameType.Ping, (FrameFlags)0x16, 0, new byte[8]),
        ["4.1 the reserved bit of the stream id"] = p => p.SendAsync([0, 0, 8, 6, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ["4.2 a DATA frame of 2^14 bytes"] = Open(Frame(FrameType.Data, FrameFlags.None, 1, new byte[16384])),
        ["4.2 a DATA frame of 1 MiB, as announced"] = Open(Frame(FrameType.Data, FrameFlags.None, 1, new byte[1 << 20])),
        ["5.3 PRIORITY on an idle stream, and on itself"] = async p =>
        {
            await p.FrameAsync(FrameType.Priority, FrameFlags.None, 3, 0, 0, 0, 1, 16);
            await p.FrameAsync(FrameType.Priority, FrameFlags.None, 3, 0, 0, 0, 3, 16);
        },
        ["5.5 extension frames on a stream"] = Open(Frame((FrameType)0xbb, FrameFlags.None, 1, 1, 2, 3)),
        ["6.1 padded DATA"] = Open(Frame(FrameType.Data, FrameFlags.Padded, 1, 2, 7, 7, 0, 0)),
        ["6.2 padded HEADERS with priority"] = p => p.FrameAsync(FrameType.Headers, FrameFlags.EndHeaders | FrameFlags.Padded | FrameFlags.Priority, 1, [1, 0, 0, 0, 0, 15, .. p.Block(RawPeer.ConnectFields()), 0]),
        ["6.5 an unknown setting"] = p => p.SettingsAsync(((SettingId)0xff, 1)),
        ["6.7 an unasked PING acknowledgement"] = Frame(FrameType.Ping, FrameFlags.Ack, 0, new byte[8]),
        ["6.8 GOAWAY with debug data, and CONNECT afterwards"] = async p =>
        {
            await p.FrameAsync(FrameType.GoAway, FrameFlags.None, 0, [.. new byte[8], .. new byte[1000]]);
            await p.ConnectAsync(1);
        },
        ["6.10 many CONTINUATION frames"] = async p =>
        {
            var block = p.Block(RawPeer.ConnectFields());
            await p.FrameAsync(FrameType.Headers, FrameFlags.None, 1, block[..4]);
            for (var i = 4; i < block.Length; i++) await p.FrameAsync(FrameType.Continuation, i == block.Length - 1 ? FrameFlags.EndHeaders : FrameFlags.None, 1, block[i]);
        },
        ["7 unknown error codes"] = Open(async p =>
        {
            await p.ResetAsync(1, (ErrorCode)0xff);
            await p.FrameAsync(FrameType.GoAway, FrameFlags.None, 0, [0, 0, 0, 0, .. RawPeer.UInt32(0xff)]);
        }),
        ["hpack 6.3 a table size update to 0 at the start"] = p => p.FrameAsync(FrameType.Headers, FrameFlags.EndHeaders, 1, [0x20, .. p.Block(RawPeer.ConnectFields())]),
    };

    public static TheoryData<string> AllowedNames => [.. Allowed.Keys];

    [Theory]
    [MemberData(nameof(AllowedNames))]
    public async Task What_the_protocol_allows_leaves_the_connection_alone(string name)
    {
        var (_, peer) = await RawPeer.ToServerAsync();
        await Allowed[name](peer);
        await peer.AssertAliveAsync();
    }

    [Theory]
    [InlineData("GET")]
    [InlineData("HEAD")]
    [InlineData("POST")]
    [InlineData("OPTIONS")]
    [Scenario("L4-070", "T-10")]
    public async Task Other_methods_are_answered_400_without_harm(string method)
    {
        var (server, peer) = await RawPeer.ToServerAsync();
        await peer.HeadersAsync(1, [new(":method", method), .. Get[1..]], FrameFlags.EndHeaders | FrameFlags.EndStream);
        var request = await server.NextAsync();
        Assert.Equal($"expected method CONNECT, got {method}", request.Problem);
        Assert.Throws<InvalidOperationException>(() => request.Accept());
        request.Reject(400);
        var answer = await peer.HeadersOfAsync(1);
        Assert.Equal(FrameFlags.EndHeaders | FrameFlags.EndStream, answer.Header.Flags);
        Assert.Equal([new HeaderField(":status", "400")], peer.Decode(answer));
        await peer.AssertAliveAsync();
    }

    [Theory]
    [InlineData("10.0.0.1")]
    [InlineData("10.0.0.1:")]
    [InlineData("10.0.0.1:0")]
    [InlineData("10.0.0.1:65536")]
    [InlineData("10.0.0.1:08x")]
    [InlineData("user@10.0.0.1:80")]
    [InlineData("fe80::1:80")]
    [InlineData("[fe80::1%eth0]:80")]
    [InlineData("[10.0.0.1]:80")]
    [InlineData("10.1:80")]
    [InlineData("0x7f000001:80")]
    [InlineData(":80")]
    [InlineData("")]
    [InlineData("a b:80")]
    [InlineData("a/b:80")]
    [Scenario("T-10")]
    public async Task An_authority_that_is_none_is_a_problem_to_be_answered_400(string authority)
    {
        var (server, peer) = await RawPeer.ToServerAsync();
        await peer.ConnectAsync(1, authority);
        var request = await server.NextAsync();
        Assert.Equal($"no valid authority pseudo header: {authority}", request.Problem);
        request.Reject(400);
        Assert.Equal([new HeaderField(":status", "400")], peer.Decode(await peer.HeadersOfAsync(1)));
        Assert.Equal(ErrorCode.NoError, (await peer.ResetOfAsync(1)).Code);
        await peer.AssertAliveAsync();
    }

    [Fact]
    public async Task The_first_frame_must_be_settings()
    {
        var (_, peer) = await RawPeer.ToServerAsync(greet: false);
        await peer.SendAsync([.. FrameWriter.Preface, .. new RawFrame(new FrameHeader(8, FrameType.Ping, FrameFlags.None, 0), new byte[8]).Bytes]);
        Assert.Equal(ErrorCode.ProtocolError, (await peer.GoAwayAsync()).Code);
    }

    [Fact]
    public async Task A_split_preface_and_frames_that_arrive_byte_by_byte_are_understood()
    {
        var (server, peer) = await RawPeer.ToServerAsync(greet: false);
        byte[] all = [.. FrameWriter.Preface, .. new RawFrame(new FrameHeader(0, FrameType.Settings, FrameFlags.None, 0), []).Bytes,
            .. new RawFrame(new FrameHeader(25, FrameType.Headers, FrameFlags.EndHeaders, 1), Convert.FromHexString("4207434f4e4e454354410e31302e39382e302e323a38303830")).Bytes];
        foreach (var b in all) await peer.SendAsync([b]);
        Assert.Equal("10.98.0.2:8080", (await server.NextAsync()).Authority!.ToString());
    }

    [Fact]
    [Scenario("T-08")]
    public async Task Settings_that_shrink_the_window_below_zero_stop_the_stream_until_credit_comes()
    {
        var (server, peer) = await RawPeer.ToServerAsync();
        await peer.ConnectAsync(1);
        var stream = (await server.NextAsync()).Accept();
        var writing = stream.WriteAsync(new byte[70000], Patience.Token).AsTask();
        var sent = 0;
        while (sent < 65535) sent += (await peer.SkipToAsync(f => f.Header.Type == FrameType.Data)).Payload.Length;
        Assert.Equal(65535, sent);
        await peer.WindowUpdateAsync(0, 1 << 20);
        await peer.SettingsAsync((SettingId.InitialWindowSize, 10));   // the stream's window is now 10 - 65535
        await peer.WindowUpdateAsync(1, 65525);
        await peer.AssertAliveAsync();
        Assert.False(writing.IsCompleted);
        await peer.WindowUpdateAsync(1, 4465);
        while (sent < 70000) sent += (await peer.SkipToAsync(f => f.Header.Type == FrameType.Data)).Payload.Length;
        await Patience.Within(writing);
    }

    [Fact]
    [Scenario("T-08")]
    public async Task Windows_of_one_byte_are_honoured()
    {
        var (server, peer) = await RawPeer.ToServerAsync();
        await peer.SettingsAsync((SettingId.InitialWindowSize, 1));
        await peer.ConnectAsync(1);
        var stream = (await server.NextAsync()).Accept();
        var writing = stream.WriteAsync("abc"u8.ToArray(), Patience.Token).AsTask();
        foreach (var expected in "abc"u8.ToArray())
        {
            Assert.Equal([expected], (await peer.SkipToAsync(f => f.Header.Type == FrameType.Data)).Payload);
            await peer.WindowUpdateAsync(1, 1);
        }
        await Patience.Within(writing);
    }

    [Fact]
    [Scenario("T-08")]
    public async Task Data_beyond_a_streams_window_resets_it()
    {
        var (server, peer) = await RawPeer.ToServerAsync(new HboneOptions { StreamWindowBytes = 65535 });
        await peer.ConnectAsync(1);
        (await server.NextAsync()).Accept();
        for (var i = 0; i < 5; i++) await peer.FrameAsync(FrameType.Data, FrameFlags.None, 1, new byte[16384]);
        Assert.Equal(ErrorCode.FlowControlError, (await peer.ResetOfAsync(1)).Code);
        await peer.AssertAliveAsync();
    }

    [Fact]
    [Scenario("T-08")]
    public async Task Data_beyond_the_connections_window_ends_it()
    {
        var options = new HboneOptions { ConnectionWindowBytes = 65535 };
        var (server, peer) = await RawPeer.ToServerAsync(options, greet: false);
        await peer.GreetAsync();
        await peer.ConnectAsync(1);
        (await server.NextAsync()).Accept();
        for (var i = 0; i < 40; i++)
        {
            // The connection's window grows up to four times while streams hold it; beyond that it is an error.
            await peer.FrameAsync(FrameType.Data, FrameFlags.None, 1, new byte[16384]);
        }
        Assert.Equal(ErrorCode.FlowControlError, (await peer.GoAwayAsync()).Code);
    }
}
