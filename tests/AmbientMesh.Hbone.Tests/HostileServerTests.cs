using AmbientMesh.Hbone.Hpack;
using AmbientMesh.Hbone.Http2;

namespace AmbientMesh.Hbone.Tests;

/// <summary>Our client end against servers that break the rules: it gives up with the right error, keeps what is good, and never hangs or grows.</summary>
public class HostileServerTests
{
    private static readonly HboneAuthority Authority = HboneAuthority.Of("10.0.0.1", 80);
    private static readonly HeaderField[] Ok = [new(":status", "200")];

    private static Func<RawPeer, Task> Frame(FrameType type, FrameFlags flags, int stream, params byte[] payload) => p => p.FrameAsync(type, flags, stream, payload);
    private static Func<RawPeer, Task> Answer(params HeaderField[] fields) => p => p.HeadersAsync(1, fields);
    private static Func<RawPeer, Task> GoAwayFrame(uint last) => Frame(FrameType.GoAway, FrameFlags.None, 0, [.. RawPeer.UInt32(last), 0, 0, 0, 0]);

    private static Func<RawPeer, Task> Endless(Func<RawPeer, Task> act) => async p =>
    {
        while (true) await act(p);
    };

    /// <summary>What ends the whole connection, and with which code the client says so.</summary>
    private static readonly Dictionary<string, (Func<RawPeer, Task> Act, ErrorCode Code)> Endings = new()
    {
        ["a giant frame"] = (p => p.SendAsync([0x20, 0, 0, 0, 0, 0, 0, 0, 1]), ErrorCode.FrameSizeError),
        ["HPACK that is none"] = (Frame(FrameType.Headers, FrameFlags.EndHeaders, 1, 0x80), ErrorCode.CompressionError),
        ["a table size above the limit"] = (Frame(FrameType.Headers, FrameFlags.EndHeaders, 1, 0x3f, 0xe2, 0x1f, 0x88), ErrorCode.CompressionError),
        ["HEADERS on a stream nobody opened"] = (p => p.HeadersAsync(7, Ok), ErrorCode.ProtocolError),
        ["HEADERS on a stream of the server's own"] = (p => p.HeadersAsync(2, Ok), ErrorCode.ProtocolError),
        ["DATA on a stream nobody opened"] = (Frame(FrameType.Data, FrameFlags.None, 7, 1), ErrorCode.ProtocolError),
        ["RST_STREAM of a stream nobody opened"] = (p => p.ResetAsync(7, ErrorCode.Cancel), ErrorCode.ProtocolError),
        ["WINDOW_UPDATE of a stream nobody opened"] = (p => p.WindowUpdateAsync(7, 1), ErrorCode.ProtocolError),
        ["PUSH_PROMISE"] = (p => p.FrameAsync(FrameType.PushPromise, FrameFlags.EndHeaders, 1, [0, 0, 0, 2, .. p.Block(RawPeer.ConnectFields())]), ErrorCode.ProtocolError),
        ["SETTINGS that enable push"] = (p => p.SettingsAsync((SettingId.EnablePush, 1)), ErrorCode.ProtocolError),
        ["a window beyond 2^31-1"] = (async p => { await p.WindowUpdateAsync(0, 0x7fff_ffff); await p.WindowUpdateAsync(0, 0x7fff_ffff); }, ErrorCode.FlowControlError),
        ["SETTINGS that lift a window beyond 2^31-1"] = (async p => { await p.WindowUpdateAsync(1, 0x7fff_ffff - 65535); await p.SettingsAsync((SettingId.InitialWindowSize, 65536)); }, ErrorCode.FlowControlError),
        ["a CONTINUATION flood"] = (async p =>
        {
            await p.FrameAsync(FrameType.Headers, FrameFlags.None, 1, p.Block(Ok));
            while (true) await p.FrameAsync(FrameType.Continuation, FrameFlags.None, 1);
        }, ErrorCode.EnhanceYourCalm),
        ["a header block without measure"] = (p => p.FrameAsync(FrameType.Headers, FrameFlags.None, 1, new byte[20_000]), ErrorCode.EnhanceYourCalm),
        ["a SETTINGS flood"] = (Endless(p => p.SettingsAsync((SettingId.InitialWindowSize, 1), (SettingId.HeaderTableSize, 0))), ErrorCode.EnhanceYourCalm),
        ["a SETTINGS acknowledgement flood"] = (Endless(Frame(FrameType.Settings, FrameFlags.Ack, 0)), ErrorCode.EnhanceYourCalm),
        ["a PING flood"] = (Endless(p => p.PingAsync()), ErrorCode.EnhanceYourCalm),
        ["a PING acknowledgement flood"] = (Endless(p => p.PingAsync(flags: FrameFlags.Ack)), ErrorCode.EnhanceYourCalm),
        ["an empty DATA flood"] = (async p => { await p.HeadersAsync(1, Ok); while (true) await p.FrameAsync(FrameType.Data, FrameFlags.None, 1); }, ErrorCode.EnhanceYourCalm),
        ["a flood of unknown frames"] = (Endless(Frame((FrameType)0xfe, FrameFlags.None, 0)), ErrorCode.EnhanceYourCalm),
        ["a WINDOW_UPDATE flood, byte by byte"] = (Endless(p => p.WindowUpdateAsync(0, 1)), ErrorCode.EnhanceYourCalm),
        ["a flood of interim answers"] = (Endless(Answer(new HeaderField(":status", "100"))), ErrorCode.EnhanceYourCalm),
    };

    public static TheoryData<string> EndingNames => [.. Endings.Keys];

    [Theory]
    [MemberData(nameof(EndingNames))]
    public async Task A_broken_connection_is_given_up_with_its_error(string name)
    {
        var (act, code) = Endings[name];
        var (client, peer) = await RawPeer.ToClientAsync(clock: new FakeTimeProvider());
        var connecting = client.ConnectAsync(Authority, [], Patience.Token);
        await peer.HeadersOfAsync(1);
        var told = peer.GoAwayAsync();
        try
        {
            await Patience.Within(Task.WhenAny(act(peer), told));
        }
        catch (IOException)
        {
            // It hung up while we were still at it.
        }
        Assert.Equal(code, (await Patience.Within(told)).Code);
        await Patience.Within(client.Completion);
        Assert.Equal(code, Assert.IsType<ConnectionErrorException>(client.Failure).Code);
        await Patience.Within(connecting);   // it has an outcome, whichever
        Assert.False(client.HasRoom);
    }

    /// <summary>What resets the one stream and leaves the connection: what the CONNECT came to.</summary>
    private static readonly Dictionary<string, (Func<RawPeer, Task> Act, ErrorCode Code)> Resets = new()
    {
        ["an answer without a status"] = (Answer(new HeaderField("x", "y")), ErrorCode.ProtocolError),
        ["a status that is none"] = (Answer(new HeaderField(":status", "2OO")), ErrorCode.ProtocolError),
        ["an interim answer that ends the stream"] = (p => p.HeadersAsync(1, [new(":status", "103")], FrameFlags.EndHeaders | FrameFlags.EndStream), ErrorCode.ProtocolError),
        ["a header list beyond the limit"] = (p => p.FrameAsync(FrameType.Headers, FrameFlags.EndHeaders, 1, [0x88, .. Enumerable.Repeat((byte)0x87, 4000)]), ErrorCode.ProtocolError),
        ["401 with a body"] = (async p => { await p.HeadersAsync(1, [new(":status", "401")]); await p.FrameAsync(FrameType.Data, FrameFlags.EndStream, 1, new byte[1000]); }, ErrorCode.Cancel),
        ["a window of the stream beyond 2^31-1"] = (p => p.WindowUpdateAsync(1, 0x7fff_ffff), ErrorCode.FlowControlError),
        ["WINDOW_UPDATE by 0"] = (p => p.WindowUpdateAsync(1, 0), ErrorCode.ProtocolError),
        ["trailers on a connected stream"] = (async p => { await p.HeadersAsync(1, Ok); await p.HeadersAsync(1, [new("x", "y")]); }, ErrorCode.ProtocolError),
        ["data after the end"] = (async p => { await p.HeadersAsync(1, Ok, FrameFlags.EndHeaders | FrameFlags.EndStream); await p.FrameAsync(FrameType.Data, FrameFlags.None, 1, 1); }, ErrorCode.StreamClosed),
    };

    public static TheoryData<string> ResetNames => [.. Resets.Keys];

    [Theory]
    [MemberData(nameof(ResetNames))]
    public async Task A_broken_stream_is_reset_and_the_connection_goes_on(string name)
    {
        var (act, code) = Resets[name];
        var (client, peer) = await RawPeer.ToClientAsync();
        var connecting = client.ConnectAsync(Authority, [], Patience.Token);
        await peer.HeadersOfAsync(1);
        await act(peer);
        Assert.Equal(code, (await peer.ResetOfAsync(1)).Code);
        await Patience.Within(connecting);
        await peer.AssertAliveAsync();
        Assert.IsType<ConnectOutcome.Established>(await SecondAsync(client, peer));
    }

    [Fact]
    public async Task A_window_the_server_overruns_resets_the_stream()
    {
        var (client, peer) = await RawPeer.ToClientAsync(new HboneOptions { StreamWindowBytes = 65535 });
        var connecting = client.ConnectAsync(Authority, [], Patience.Token);
        await peer.HeadersOfAsync(1);
        await peer.HeadersAsync(1, Ok);
        var stream = Assert.IsType<ConnectOutcome.Established>(await Patience.Within(connecting)).Stream;
        for (var i = 0; i < 5; i++) await peer.FrameAsync(FrameType.Data, FrameFlags.None, 1, new byte[16384]);
        Assert.Equal(ErrorCode.FlowControlError, (await peer.ResetOfAsync(1)).Code);
        await Assert.ThrowsAnyAsync<IOException>(() => stream.ReadToEndAsync());
        await peer.AssertAliveAsync();
    }

    [Theory]
    [InlineData(0u)]           // nothing was taken
    [InlineData(0x7fff_ffffu)] // everything may have been
    [InlineData(2u)]           // an id the client never uses
    [Scenario("T-07")]
    public async Task Goaway_with_any_last_stream_gives_every_request_an_outcome(uint last)
    {
        var (client, peer) = await RawPeer.ToClientAsync();
        var first = client.ConnectAsync(Authority, [], Patience.Token);
        var second = client.ConnectAsync(Authority, [], Patience.Token);
        await peer.HeadersOfAsync(3);
        await GoAwayFrame(last)(peer);
        await GoAwayFrame(last == 0 ? 0x7fff_ffffu : 0u)(peer);   // the other way round at once
        Assert.IsType<ConnectOutcome.NotProcessed>(await Patience.Within(first));
        Assert.IsType<ConnectOutcome.NotProcessed>(await Patience.Within(second));
        Assert.True(client.IsRetired);
        await Patience.Within(client.Completion);
    }

    [Fact]
    public async Task A_storm_of_resets_leaves_nothing_behind()
    {
        var (client, peer) = await RawPeer.ToClientAsync(settings: (SettingId.MaxConcurrentStreams, 1000));
        for (var stream = 1; stream < 2000; stream += 2)
        {
            var connecting = client.ConnectAsync(Authority, [], Patience.Token);
            await peer.HeadersOfAsync(stream);
            await peer.ResetAsync(stream, ErrorCode.RefusedStream);
            Assert.IsType<ConnectOutcome.NotProcessed>(await Patience.Within(connecting));
        }
        Assert.Equal((0, 0), (client.ActiveStreams, client.Streams));
        await peer.AssertAliveAsync();
    }

    [Fact]
    public async Task A_header_block_that_never_ends_is_not_waited_for()
    {
        var clock = new FakeTimeProvider();
        var (client, peer) = await RawPeer.ToClientAsync(clock: clock);
        var connecting = client.ConnectAsync(Authority, [], Patience.Token);
        await peer.HeadersOfAsync(1);
        await peer.FrameAsync(FrameType.Headers, FrameFlags.None, 1, peer.Block(Ok));
        await clock.TimersArmedAsync(2, Patience.Token);   // keep-alive and the header block's
        clock.Advance(TimeSpan.FromSeconds(5));
        Assert.IsType<ConnectOutcome.Failed>(await Patience.Within(connecting));
        await Patience.Within(client.Completion);
    }

    [Fact]
    [Scenario("T-07")]
    public async Task A_limit_that_sinks_below_what_is_open_lets_open_streams_finish()
    {
        var (client, peer) = await RawPeer.ToClientAsync(settings: (SettingId.MaxConcurrentStreams, 2));
        var connecting = client.ConnectAsync(Authority, [], Patience.Token);
        await peer.HeadersOfAsync(1);
        await peer.HeadersAsync(1, Ok);
        var stream = Assert.IsType<ConnectOutcome.Established>(await Patience.Within(connecting)).Stream;
        await peer.SettingsAsync((SettingId.MaxConcurrentStreams, 0));
        await peer.FrameAsync(FrameType.Data, FrameFlags.EndStream, 1, 42);
        Assert.Equal([42], await stream.ReadToEndAsync());
        Assert.False(client.HasRoom);
        await peer.SettingsAsync((SettingId.MaxConcurrentStreams, 1));
        await peer.AssertAliveAsync();
        await stream.DisposeAsync();
        await peer.ResetOfAsync(1);
        Assert.IsType<ConnectOutcome.Established>(await SecondAsync(client, peer));
    }

    private static async Task<ConnectOutcome> SecondAsync(HboneClientConnection client, RawPeer peer)
    {
        var connecting = client.ConnectAsync(Authority, [], Patience.Token);
        await peer.HeadersOfAsync(3);
        await peer.HeadersAsync(3, Ok);
        return await Patience.Within(connecting);
    }
}
