using AmbientMesh.Hbone.Hpack;
using AmbientMesh.Hbone.Http2;

namespace AmbientMesh.Hbone.Tests;

/// <summary>The cases of h2spec (147 of them, by its ids) that <see cref="ConformanceTests"/> does not name by section, as bytes against our server. docs/SECURITY.md has the whole table.</summary>
/// <remarks>h2spec opens streams with GET, which this server answers 400; these open them with CONNECT, and with GET where the case is about other methods.</remarks>
public class H2SpecCases
{
    private static readonly HeaderField[] Get = [new(":method", "GET"), new(":scheme", "https"), new(":path", "/"), new(":authority", "x:1")];

    /// <summary>What must come of it. Exactly one case holds.</summary>
    private abstract record Outcome
    {
        public sealed record GoAway(ErrorCode Code) : Outcome;
        /// <param name="Served">Whether requests are answered meanwhile.</param>
        public sealed record Reset(int Stream, ErrorCode Code, bool Served = true) : Outcome;
        /// <summary>The stream is accepted: headers 200 come back.</summary>
        public sealed record Connected(int Stream) : Outcome;
        /// <summary>The request is answered 400 and the connection lives.</summary>
        public sealed record Answered400(int Stream) : Outcome;
        public sealed record Alive : Outcome;
        public sealed record Closed : Outcome;
    }

    private static readonly Outcome Connected = new Outcome.Connected(1);
    private static readonly Outcome Answered = new Outcome.Answered400(1);
    private static readonly Outcome Alive = new Outcome.Alive();
    private static Outcome GoAway(ErrorCode code) => new Outcome.GoAway(code);
    private static Outcome Reset(ErrorCode code, int stream = 1) => new Outcome.Reset(stream, code);
    private static byte[] U32(uint value) => RawPeer.UInt32(value);
    private static Func<RawPeer, Task> Frame(FrameType type, FrameFlags flags, int stream, params byte[] payload) => p => p.FrameAsync(type, flags, stream, payload);
    private static Func<RawPeer, Task> Block(params byte[] block) => Frame(FrameType.Headers, FrameFlags.EndHeaders, 1, block);
    private static Func<RawPeer, Task> Connect(FrameFlags flags = FrameFlags.EndHeaders) => p => p.HeadersAsync(1, RawPeer.ConnectFields(), flags);

    private static Func<RawPeer, Task> Then(params Func<RawPeer, Task>[] steps) => async p =>
    {
        foreach (var step in steps) await step(p);
    };

    /// <summary>A stream closed by both ends.</summary>
    private static readonly Func<RawPeer, Task> Closed = async p =>
    {
        await p.HeadersAsync(1, Get, FrameFlags.EndHeaders | FrameFlags.EndStream);
        await p.HeadersOfAsync(1);
    };

    // :method CONNECT indexed name 2, new value; then :authority by the static index 1.
    private static readonly byte[] ConnectLiteral = [0x02, 7, .. "CONNECT"u8];
    private static readonly byte[] AuthorityValue = [11, .. "10.0.0.1:80"u8];

    private static readonly Dictionary<string, (Func<RawPeer, Task> Act, Outcome Outcome)> Cases = new()
    {
        // generic: 1 to 5
        ["generic/1/1 the connection preface"] = (p => Task.CompletedTask, Alive),
        ["generic/2/1 PRIORITY on an idle stream"] = (Frame(FrameType.Priority, FrameFlags.None, 1, new byte[5]), Alive),
        ["generic/2/2 WINDOW_UPDATE on a half-closed stream"] = (Then(Connect(FrameFlags.EndHeaders | FrameFlags.EndStream), p => p.WindowUpdateAsync(1, 100)), Connected),
        ["generic/2/3 PRIORITY on a half-closed stream"] = (Then(Connect(FrameFlags.EndHeaders | FrameFlags.EndStream), Frame(FrameType.Priority, FrameFlags.None, 1, new byte[5])), Connected),
        ["generic/2/4 RST_STREAM on a half-closed stream"] = (Then(Connect(FrameFlags.EndHeaders | FrameFlags.EndStream), p => p.ResetAsync(1, ErrorCode.Cancel)), Alive),
        ["generic/2/5 PRIORITY on a closed stream"] = (Then(Closed, Frame(FrameType.Priority, FrameFlags.None, 1, new byte[5])), Alive),
        ["generic/3.1/1 a DATA frame"] = (Then(Connect(), Frame(FrameType.Data, FrameFlags.EndStream, 1, [.. "test"u8])), Connected),
        ["generic/3.1/2 several DATA frames"] = (Then(Connect(), Frame(FrameType.Data, FrameFlags.None, 1, 1), Frame(FrameType.Data, FrameFlags.EndStream, 1, 2)), Connected),
        ["generic/3.1/3 a DATA frame with padding"] = (Then(Connect(), Frame(FrameType.Data, FrameFlags.EndStream | FrameFlags.Padded, 1, 2, 7, 0, 0)), Connected),
        ["generic/3.2/1 a HEADERS frame"] = (Connect(), Connected),
        ["generic/3.2/2 a HEADERS frame with padding"] = (p => p.FrameAsync(FrameType.Headers, FrameFlags.EndHeaders | FrameFlags.Padded, 1, [2, .. p.Block(RawPeer.ConnectFields()), 0, 0]), Connected),
        ["generic/3.2/3 a HEADERS frame with priority"] = (p => p.FrameAsync(FrameType.Headers, FrameFlags.EndHeaders | FrameFlags.Priority, 1, [0, 0, 0, 0, 15, .. p.Block(RawPeer.ConnectFields())]), Connected),
        ["generic/3.3/1 PRIORITY with weight 1"] = (Frame(FrameType.Priority, FrameFlags.None, 1, 0, 0, 0, 0, 0), Alive),
        ["generic/3.3/2 PRIORITY with weight 256"] = (Frame(FrameType.Priority, FrameFlags.None, 1, 0, 0, 0, 0, 255), Alive),
        ["generic/3.3/3 PRIORITY with a dependency"] = (Frame(FrameType.Priority, FrameFlags.None, 3, 0, 0, 0, 1, 15), Alive),
        ["generic/3.3/4 PRIORITY, exclusive"] = (Frame(FrameType.Priority, FrameFlags.None, 3, 0x80, 0, 0, 1, 15), Alive),
        ["generic/3.3/5 PRIORITY, then HEADERS of a lower id"] = (Then(Frame(FrameType.Priority, FrameFlags.None, 5, 0, 0, 0, 0, 15), Connect()), Connected),
        ["generic/3.4/1 a RST_STREAM frame"] = (Then(Connect(), p => p.ResetAsync(1, ErrorCode.Cancel)), Alive),
        ["generic/3.5/1 a SETTINGS frame"] = (p => p.SettingsAsync((SettingId.MaxConcurrentStreams, 10)), Alive),
        ["generic/3.7/1 a PING frame"] = (p => p.PingAsync(77), Alive),
        ["generic/3.8/1 a GOAWAY frame"] = (Frame(FrameType.GoAway, FrameFlags.None, 0, new byte[8]), Alive),
        ["generic/3.9/1 WINDOW_UPDATE of the connection"] = (p => p.WindowUpdateAsync(0, 1 << 20), Alive),
        ["generic/3.9/2 WINDOW_UPDATE of a stream"] = (Then(Connect(), p => p.WindowUpdateAsync(1, 1 << 20)), Connected),
        ["generic/3.10/1 a CONTINUATION frame"] = (Continued(1), Connected),
        ["generic/3.10/2 several CONTINUATION frames"] = (Continued(3), Connected),
        ["generic/4/1 GET"] = (p => p.HeadersAsync(1, Get, FrameFlags.EndHeaders | FrameFlags.EndStream), Answered),
        ["generic/4/2 HEAD"] = (p => p.HeadersAsync(1, [new(":method", "HEAD"), .. Get[1..]], FrameFlags.EndHeaders | FrameFlags.EndStream), Answered),
        ["generic/4/3 POST with a body"] = (Then(p => p.HeadersAsync(1, [new(":method", "POST"), .. Get[1..]]), Frame(FrameType.Data, FrameFlags.EndStream, 1, [.. "test"u8])), Answered),
        ["generic/4/4 POST with trailers"] = (Then(p => p.HeadersAsync(1, [new(":method", "POST"), .. Get[1..]]), Frame(FrameType.Data, FrameFlags.None, 1, [.. "test"u8]), p => p.HeadersAsync(1, [new("x-test", "ok")], FrameFlags.EndHeaders | FrameFlags.EndStream)), Answered),
        ["generic/5/1 an indexed field"] = (Block([0x82, 0x87, 0x84, 0x41, .. AuthorityValue]), Answered),
        ["generic/5/2 a literal, indexed, name by index"] = (Block([0x42, .. ConnectLiteral[1..], 0x41, .. AuthorityValue]), Connected),
        ["generic/5/3 a literal, indexed, new name"] = (Block([.. ConnectLiteral, 0x01, .. AuthorityValue, 0x40, 1, (byte)'x', 1, (byte)'y']), Connected),
        ["generic/5/4 a literal without indexing, name by index"] = (Block([.. ConnectLiteral, 0x01, .. AuthorityValue]), Connected),
        ["generic/5/5 a literal without indexing, new name"] = (Block([.. ConnectLiteral, 0x01, .. AuthorityValue, 0x00, 1, (byte)'x', 1, (byte)'y']), Connected),
        ["generic/5/6 a literal never indexed, name by index"] = (Block([0x12, .. ConnectLiteral[1..], 0x11, .. AuthorityValue]), Connected),
        ["generic/5/7 a literal never indexed, new name"] = (Block([.. ConnectLiteral, 0x01, .. AuthorityValue, 0x10, 1, (byte)'x', 1, (byte)'y']), Connected),
        ["generic/5/8 to 11 Huffman coded literals"] = (Block([.. ConnectLiteral, 0x01, .. AuthorityValue, 0x40, 0x81, 0xf3, 0x81, 0xf5]), Connected),
        ["generic/5/12 a dynamic table entry used again"] = (Then(Block([.. ConnectLiteral, 0x41, .. AuthorityValue]), p => p.FrameAsync(FrameType.Headers, FrameFlags.EndHeaders, 3, [.. ConnectLiteral, 0xbe])), new Outcome.Connected(3)),
        ["generic/5/13 a table size update"] = (Block([0x3f, 0xe1, 0x1f, .. ConnectLiteral, 0x01, .. AuthorityValue]), Connected),
        ["generic/5/14 several table size updates"] = (Block([0x20, 0x3f, 0xe1, 0x1f, .. ConnectLiteral, 0x01, .. AuthorityValue]), Connected),

        // http2: what ConformanceTests does not have
        ["http2/4.2/3 HEADERS longer than a frame may be"] = (p => p.SendAsync([0x10, 0, 1, 1, 4, 0, 0, 0, 1]), GoAway(ErrorCode.FrameSizeError)),
        ["http2/4.3/2 PRIORITY inside a header block"] = (Then(Connect(FrameFlags.None), Frame(FrameType.Priority, FrameFlags.None, 1, new byte[5])), GoAway(ErrorCode.ProtocolError)),
        ["http2/5.1/7 half-closed: CONTINUATION"] = (Then(Connect(FrameFlags.EndHeaders | FrameFlags.EndStream), Frame(FrameType.Continuation, FrameFlags.EndHeaders, 1, 0x82)), GoAway(ErrorCode.ProtocolError)),
        ["http2/5.1/10 closed by a reset: CONTINUATION"] = (Then(Connect(), p => p.ResetAsync(1, ErrorCode.Cancel), Frame(FrameType.Continuation, FrameFlags.EndHeaders, 1, 0x82)), GoAway(ErrorCode.ProtocolError)),
        ["http2/5.1/11 closed: DATA"] = (Then(Closed, Frame(FrameType.Data, FrameFlags.None, 1, 1)), Reset(ErrorCode.StreamClosed)),
        ["http2/5.1/12 closed: HEADERS"] = (Then(Closed, Connect()), GoAway(ErrorCode.StreamClosed)),
        ["http2/5.1/13 closed: CONTINUATION"] = (Then(Closed, Frame(FrameType.Continuation, FrameFlags.EndHeaders, 1, 0x82)), GoAway(ErrorCode.ProtocolError)),
        ["http2/5.1.2/1 more streams than allowed"] = (async p => { for (var s = 1; s <= 401; s += 2) await p.ConnectAsync(s); }, Reset(ErrorCode.RefusedStream, 401)),
        ["http2/5.3.1/1 HEADERS that depend on themselves (expected difference: RFC 9113 deprecates priority)"] = (p => p.FrameAsync(FrameType.Headers, FrameFlags.EndHeaders | FrameFlags.Priority, 1, [0, 0, 0, 1, 15, .. p.Block(RawPeer.ConnectFields())]), Connected),
        ["http2/5.4.1/1 a connection error closes the connection"] = (Frame(FrameType.Data, FrameFlags.None, 0, 1), GoAway(ErrorCode.ProtocolError)),
        ["http2/6.2/1 HEADERS, then PRIORITY instead of CONTINUATION"] = (Then(Connect(FrameFlags.None), Frame(FrameType.Priority, FrameFlags.None, 1, new byte[5])), GoAway(ErrorCode.ProtocolError)),
        ["http2/6.3/1 PRIORITY on stream 0"] = (Frame(FrameType.Priority, FrameFlags.None, 0, new byte[5]), GoAway(ErrorCode.ProtocolError)),
        ["http2/6.3/2 PRIORITY of another length"] = (Frame(FrameType.Priority, FrameFlags.None, 1, new byte[4]), GoAway(ErrorCode.FrameSizeError)),
        ["http2/6.5.3/1 the same setting twice: the last counts"] = (Then(p => p.SettingsAsync((SettingId.InitialWindowSize, 100), (SettingId.InitialWindowSize, 1)), Connect()), Connected),
        ["http2/6.9.1/1 HEADERS after a window of 1"] = (Then(p => p.SettingsAsync((SettingId.InitialWindowSize, 1)), Connect()), Connected),
        ["http2/6.10/4 CONTINUATION after a complete HEADERS"] = (Then(Connect(), Frame(FrameType.Continuation, FrameFlags.EndHeaders, 1, 0x82)), GoAway(ErrorCode.ProtocolError)),
        ["http2/6.10/5 CONTINUATION after a complete CONTINUATION"] = (Then(Continued(1), Frame(FrameType.Continuation, FrameFlags.EndHeaders, 1, 0x82)), GoAway(ErrorCode.ProtocolError)),
        ["http2/6.10/6 CONTINUATION after DATA"] = (Then(Connect(), Frame(FrameType.Data, FrameFlags.None, 1, 1), Frame(FrameType.Continuation, FrameFlags.EndHeaders, 1, 0x82)), GoAway(ErrorCode.ProtocolError)),
        ["http2/8.1.2.1/3 a pseudo header in trailers"] = (Then(p => p.HeadersAsync(1, [new(":method", "POST"), .. Get[1..]]), p => p.HeadersAsync(1, [new(":method", "POST")], FrameFlags.EndHeaders | FrameFlags.EndStream)), new Outcome.Reset(1, ErrorCode.ProtocolError, Served: false)),
        ["http2/8.1.2.3/6 two schemes"] = (p => p.HeadersAsync(1, [.. Get, new(":scheme", "https")]), Reset(ErrorCode.ProtocolError)),
        ["http2/8.1.2.3/7 two paths"] = (p => p.HeadersAsync(1, [.. Get, new(":path", "/")]), Reset(ErrorCode.ProtocolError)),
        ["http2/8.1.2.3/4 GET without a path"] = (p => p.HeadersAsync(1, [.. Get.Where(f => f.Name != ":path")]), Reset(ErrorCode.ProtocolError)),
        ["http2/8.1.2.6/1 and 2 a content-length that is not the body's (no body is read of what is refused)"] = (Then(p => p.HeadersAsync(1, [new(":method", "POST"), .. Get[1..], new("content-length", "1")]), Frame(FrameType.Data, FrameFlags.EndStream, 1, [.. "test"u8])), Answered),
        ["hpack/2.3.3/2 a literal whose name's index is outside both tables"] = (Block(0x82, 0x7f, 0x20, 1, 97), GoAway(ErrorCode.CompressionError)),

        // What h2spec lacks
        ["ours: an empty header block"] = (Block(), Reset(ErrorCode.ProtocolError)),
        ["ours: a frame of 1 MiB, which ztunnel announces too"] = (Then(Connect(), p => p.HeadersOfAsync(1), Frame(FrameType.Data, FrameFlags.None, 1, new byte[1 << 20])), Alive),
        ["ours: settings that change in the middle of a stream"] = (Then(Connect(), p => p.SettingsAsync((SettingId.InitialWindowSize, 5), (SettingId.MaxFrameSize, 1 << 20), (SettingId.HeaderTableSize, 0)), p => p.SettingsAsync((SettingId.InitialWindowSize, 1 << 20), (SettingId.HeaderTableSize, 4096))), Connected),
        ["ours: a header name with a space"] = (p => p.HeadersAsync(1, [.. RawPeer.ConnectFields(), new("a b", "1")]), Reset(ErrorCode.ProtocolError)),
        ["ours: an empty header name"] = (Block([.. ConnectLiteral, 0x01, .. AuthorityValue, 0x00, 0, 1, (byte)'y']), Reset(ErrorCode.ProtocolError)),
        ["ours: CONNECT without an authority"] = (p => p.HeadersAsync(1, [new(":method", "CONNECT")]), Answered),
        ["ours: an integer that never ends"] = (Block(0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), GoAway(ErrorCode.CompressionError)),
        ["ours: a string longer than its block"] = (Block(0x40, 0x7f, 0xff, 0x7f), GoAway(ErrorCode.CompressionError)),
        ["ours: the last stream id"] = (p => p.ConnectAsync(int.MaxValue), new Outcome.Connected(int.MaxValue)),
    };

    private static Func<RawPeer, Task> Continued(int frames) => async p =>
    {
        var block = p.Block(RawPeer.ConnectFields());
        await p.FrameAsync(FrameType.Headers, FrameFlags.None, 1, block[..3]);
        for (var i = 0; i < frames; i++)
            await p.FrameAsync(FrameType.Continuation, i == frames - 1 ? FrameFlags.EndHeaders : FrameFlags.None, 1, i == frames - 1 ? block[(3 + i)..] : block[(3 + i)..(4 + i)]);
    };

    public static TheoryData<string> Names => [.. Cases.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public async Task A_case_has_its_outcome(string name)
    {
        var (act, outcome) = Cases[name];
        var (server, peer) = await RawPeer.ToServerAsync();
        var serving = outcome is Outcome.Reset { Served: false } ? Task.CompletedTask : ServeAsync(server);
        await act(peer);
        switch (outcome)
        {
            case Outcome.GoAway goAway:
                Assert.Equal(goAway.Code, (await peer.GoAwayAsync()).Code);
                await peer.AssertClosedAsync();
                await Patience.Within(serving);
                return;
            case Outcome.Reset reset: Assert.Equal(reset.Code, (await peer.ResetOfAsync(reset.Stream)).Code); break;
            case Outcome.Connected connected: Assert.Equal([new HeaderField(":status", "200")], peer.Decode(await peer.HeadersOfAsync(connected.Stream))); break;
            case Outcome.Answered400 answered: Assert.Equal([new HeaderField(":status", "400")], peer.Decode(await peer.HeadersOfAsync(answered.Stream))); break;
        }
        await peer.AssertAliveAsync();
    }

    [Fact]
    public async Task Another_preface_closes_the_connection()
    {
        var (server, peer) = await RawPeer.ToServerAsync(greet: false);
        await peer.SendAsync([.. "GET / HTTP/1.1\r\nHost: x\r\n\r\n"u8]);
        await peer.AssertClosedAsync();
        await Patience.Within(server.Completion);
    }

    private static async Task ServeAsync(HboneServerConnection server)
    {
        await foreach (var request in server.RequestsAsync(CancellationToken.None))
            if (request.Problem is null) request.Accept();
            else request.Reject(400);
    }
}
