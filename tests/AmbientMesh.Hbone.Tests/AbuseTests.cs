using System.Net.Sockets;
using AmbientMesh.Hbone.Http2;

namespace AmbientMesh.Hbone.Tests;

/// <summary>A peer that costs more than it should is told to calm down and loses its tunnel (threats T-01 to T-09).</summary>
public class AbuseTests
{
    [Fact]
    [Scenario("T-01")]
    public Task Rapid_reset_ends_the_tunnel() => EndsCalmlyAsync(async peer =>
    {
        for (var stream = 1; ; stream += 2)
        {
            await peer.ConnectAsync(stream);
            await peer.ResetAsync(stream, ErrorCode.Cancel);
        }
    });

    [Fact]
    [Scenario("T-01")]
    public async Task Resets_of_streams_that_carried_data_are_ordinary_life()
    {
        var (server, peer) = await RawPeer.ToServerAsync();
        for (var stream = 1; stream < 5000; stream += 2)
        {
            await peer.ConnectAsync(stream);
            await using var accepted = (await server.NextAsync()).Accept();
            await peer.FrameAsync(FrameType.Data, FrameFlags.None, stream, 1);
            Assert.Equal(1, await accepted.ReadAsync(new byte[1], Patience.Token));
            await peer.ResetAsync(stream, ErrorCode.Cancel);
        }
        await peer.AssertAliveAsync();
    }

    [Fact]
    [Scenario("T-08")]
    public async Task Streams_that_send_too_much_before_their_answer_leave_the_connections_window_whole()
    {
        var (server, peer) = await RawPeer.ToServerAsync(new HboneOptions { MaxEarlyBytes = 16 * 1024, ConnectionWindowBytes = 128 * 1024 });
        var frame = new byte[16 * 1024];
        for (var stream = 1; stream < 200; stream += 2)
        {
            await peer.ConnectAsync(stream);
            for (var i = 0; i < 2; i++) await peer.FrameAsync(FrameType.Data, FrameFlags.None, stream, frame);
            Assert.Equal(ErrorCode.EnhanceYourCalm, (await peer.SkipToAsync(f => f.Header.Type == FrameType.RstStream)).Code);
        }
        await peer.AssertAliveAsync();
        Assert.False(server.IsClosing);
    }

    [Fact]
    public async Task The_problem_of_a_request_quotes_no_more_than_a_few_hundred_characters()
    {
        var (server, peer) = await RawPeer.ToServerAsync();
        await peer.HeadersAsync(1, RawPeer.ConnectFields(new string('a', 15_000)));
        await peer.HeadersAsync(3, [new(":method", new string('M', 15_000)), new(":authority", "10.0.0.1:80"), new(":scheme", "https"), new(":path", "/")]);
        foreach (var _ in (int[])[1, 3]) Assert.InRange((await server.NextAsync()).Problem!.Length, 300, 400);
    }

    [Fact]
    [Scenario("T-02")]
    public Task Provoking_our_resets_ends_the_tunnel() => EndsCalmlyAsync(async peer =>
    {
        for (var stream = 1; ; stream += 2)
        {
            await peer.ConnectAsync(stream);
            await peer.WindowUpdateAsync(stream, 0);
        }
    });

    [Fact]
    [Scenario("T-02")]
    public Task Provoking_refusals_ends_the_tunnel() => EndsCalmlyAsync(async peer =>
    {
        for (var stream = 1; ; stream += 2) await peer.HeadersAsync(stream, [.. RawPeer.ConnectFields(), new(":path", "/")]);
    });

    [Fact]
    [Scenario("T-03")]
    public Task A_flood_of_continuation_frames_ends_the_tunnel() => EndsCalmlyAsync(async peer =>
    {
        await peer.FrameAsync(FrameType.Headers, FrameFlags.None, 1, peer.Block(RawPeer.ConnectFields()));
        while (true) await peer.FrameAsync(FrameType.Continuation, FrameFlags.None, 1);
    });

    [Fact]
    [Scenario("T-03")]
    public Task A_header_block_larger_than_announced_ends_the_tunnel() => EndsCalmlyAsync(async peer =>
    {
        await peer.FrameAsync(FrameType.Headers, FrameFlags.None, 1, new byte[60000]);
        await peer.FrameAsync(FrameType.Continuation, FrameFlags.EndHeaders, 1, new byte[60000]);
    });

    [Theory]
    [InlineData("DATA")]
    [InlineData("PING")]
    [InlineData("SETTINGS")]
    [InlineData("PRIORITY")]
    [InlineData("HEADERS")]
    [InlineData("SETTINGS acknowledgement")]
    [InlineData("PING acknowledgement")]
    [InlineData("GOAWAY")]
    [InlineData("WINDOW_UPDATE")]
    [InlineData("unknown")]
    [Scenario("T-05")]
    public Task A_flood_of_frames_without_effect_ends_the_tunnel(string kind) => EndsCalmlyAsync(async peer =>
    {
        await peer.ConnectAsync(1);
        for (var stream = 3; ; stream += 2)
        {
            await (kind switch
            {
                "DATA" => peer.FrameAsync(FrameType.Data, FrameFlags.None, 1),
                "PING" => peer.PingAsync(),
                "SETTINGS" => peer.SettingsAsync(),
                "HEADERS" => peer.FrameAsync(FrameType.Headers, FrameFlags.EndHeaders, stream),
                "SETTINGS acknowledgement" => peer.FrameAsync(FrameType.Settings, FrameFlags.Ack, 0),
                "PING acknowledgement" => peer.PingAsync(flags: FrameFlags.Ack),
                "GOAWAY" => peer.FrameAsync(FrameType.GoAway, FrameFlags.None, 0, new byte[8]),
                "WINDOW_UPDATE" => peer.WindowUpdateAsync(0, 1),
                "unknown" => peer.FrameAsync((FrameType)0xfe, FrameFlags.None, 0),
                _ => peer.FrameAsync(FrameType.Priority, FrameFlags.None, 1, new byte[5]),
            });
        }
    });

    [Fact]
    [Scenario("T-07")]
    public async Task Goaway_followed_by_a_limit_of_zero_is_a_drain()
    {
        var (client, peer) = await RawPeer.ToClientAsync(settings: (SettingId.MaxConcurrentStreams, 100));
        var connecting = client.ConnectAsync(HboneAuthority.Of("10.0.0.1", 80), [], Patience.Token);
        await peer.HeadersOfAsync(1);
        await peer.HeadersAsync(1, [new(":status", "200")]);
        var stream = Assert.IsType<ConnectOutcome.Established>(await Patience.Within(connecting)).Stream;
        await peer.FrameAsync(FrameType.GoAway, FrameFlags.None, 0, [.. RawPeer.UInt32(1), 0, 0, 0, 0]);
        await peer.SettingsAsync((SettingId.MaxConcurrentStreams, 0));
        await peer.FrameAsync(FrameType.Data, FrameFlags.EndStream, 1, 42);
        Assert.Equal([42], await stream.ReadToEndAsync());
        Assert.IsType<ConnectOutcome.NotProcessed>(await client.ConnectAsync(HboneAuthority.Of("10.0.0.1", 80), [], Patience.Token));
    }

    [Fact]
    [Scenario("T-08")]
    public async Task A_stream_nobody_reads_does_not_starve_the_others()
    {
        var tunnel = await Loopback.TunnelAsync();
        for (var i = 0; i < 6; i++)
        {
            var (sender, _) = await tunnel.StreamAsync();
            _ = sender.WriteAsync(new byte[8 << 20], CancellationToken.None).AsTask();   // 4 MiB of it fit the stream's window
        }
        var (client, server) = await tunnel.StreamAsync();
        var bytes = Loopback.Bytes(1 << 20);
        var writing = client.WriteAsync(bytes, Patience.Token).AsTask();
        Assert.Equal(bytes, await server.ReadExactlyAsync(bytes.Length));
        await writing;
        await tunnel.Client.CloseAsync();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Scenario("T-09")]
    public async Task A_preface_or_header_block_that_does_not_end_is_not_waited_for(bool greeted)
    {
        var clock = new FakeTimeProvider();
        var (server, peer) = await RawPeer.ToServerAsync(clock: clock, greet: greeted);
        if (greeted)
        {
            await peer.FrameAsync(FrameType.Headers, FrameFlags.None, 1, peer.Block(RawPeer.ConnectFields())[..3]);
            await peer.SendAsync([0, 0, 9, 9, 0]);   // half a CONTINUATION
            await clock.TimersArmedAsync(2, Patience.Token);   // keep-alive and the header block's
        }
        clock.Advance(TimeSpan.FromSeconds(5));
        await peer.AssertClosedAsync();
        await Patience.Within(server.Completion);
        Assert.Contains("in time", server.Failure!.Message, StringComparison.Ordinal);
    }

    /// <summary>Attacks until the tunnel is gone; it must go with ENHANCE_YOUR_CALM.</summary>
    private static async Task EndsCalmlyAsync(Func<RawPeer, Task> attack)
    {
        var (server, peer) = await RawPeer.ToServerAsync(clock: new FakeTimeProvider());
        _ = RejectAllAsync(server);
        var reading = peer.GoAwayAsync();
        try
        {
            await Patience.Within(Task.WhenAny(attack(peer), reading));
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            // The tunnel went while we were still at it.
        }
        await Patience.Within(server.Completion);
        Assert.Equal(ErrorCode.EnhanceYourCalm, Assert.IsType<ConnectionErrorException>(server.Failure).Code);
        Assert.Equal(ErrorCode.EnhanceYourCalm, (await reading).Code);
    }

    private static async Task RejectAllAsync(HboneServerConnection server)
    {
        await foreach (var request in server.RequestsAsync(CancellationToken.None)) request.Reject(503);
    }
}
