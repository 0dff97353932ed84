using AmbientMesh.Hbone.Hpack;
using AmbientMesh.Hbone.Http2;

namespace AmbientMesh.Hbone.Tests;

public class StreamTests
{
    private static readonly HboneAuthority Authority = HboneAuthority.Of("10.0.0.1", 80);

    [Fact]
    [Scenario("L4-012")]
    public async Task Bytes_travel_both_ways_and_each_direction_ends_on_its_own()
    {
        var tunnel = await Loopback.TunnelAsync();
        var (client, server) = await tunnel.StreamAsync();
        var upload = Loopback.Bytes(3_000_000, 1);
        var download = Loopback.Bytes(5_000_000, 2);

        var uploading = SendAllAsync(client, upload);
        Assert.Equal(upload, await server.ReadToEndAsync());
        await uploading;
        var downloading = SendAllAsync(server, download);
        Assert.Equal(download, await client.ReadToEndAsync());
        await downloading;

        await Patience.Within(tunnel.Client.CloseAsync().AsTask());
        await Patience.Within(tunnel.Server.Completion);
        Assert.Null(tunnel.Server.Failure);
    }

    [Fact]
    public async Task Many_streams_at_once_keep_their_bytes_apart()
    {
        var tunnel = await new Mesh().TunnelAsync(new HboneOptions { StreamWindowBytes = 65535 });
        await Patience.Within(tunnel.Client.SettingsReceived);
        var jobs = new List<Task>();
        for (var i = 0; i < 60; i++)
        {
            var (client, server) = await tunnel.StreamAsync();
            var bytes = Loopback.Bytes(200_000 + (i * 977), i);
            jobs.Add(SendAllAsync(client, bytes));
            jobs.Add(EchoAsync(server));
            jobs.Add(ExpectAsync(client, bytes));
        }
        await Patience.Within(Task.WhenAll(jobs));
        Assert.Equal(0, tunnel.Client.ActiveStreams);
    }

    [Fact]
    public async Task A_reader_that_lags_behind_still_reads_every_byte_in_order()
    {
        var tunnel = await Loopback.TunnelAsync();
        var (client, server) = await tunnel.StreamAsync();
        var bytes = Loopback.Bytes(6_000_000);
        var sending = Task.Run(async () =>
        {
            // Pieces of many sizes, so that lent blocks, moved-down frames and compact copies all occur.
            for (int at = 0, size = 1; at < bytes.Length; at += size, size = (size * 7 % 70_001) + 1)
                await client.WriteAsync(bytes.AsMemory(at, Math.Min(size, bytes.Length - at)), Patience.Token);
            await client.ShutdownWriteAsync(Patience.Token);
        }, CancellationToken.None);
        var received = new MemoryStream();
        var buffer = new byte[10_007];
        for (var round = 0; await server.ReadAsync(buffer.AsMemory(0, (round * 131 % buffer.Length) + 1), Patience.Token) is > 0 and var count; round++)
        {
            received.Write(buffer, 0, count);
            if (round % 50 == 0) await Task.Yield();
        }
        await Patience.Within(sending);
        Assert.Equal(bytes, received.ToArray());
    }

    [Fact]
    public async Task A_peers_cancel_reads_as_the_end_after_what_arrived_before_and_breaks_writing()
    {
        var (server, peer) = await RawPeer.ToServerAsync();
        await peer.ConnectAsync(1);
        var stream = (await server.NextAsync()).Accept();
        await peer.FrameAsync(FrameType.Data, FrameFlags.None, 1, 1, 2, 3);
        await peer.ResetAsync(1, ErrorCode.Cancel);
        Assert.Equal([1, 2, 3], await stream.ReadToEndAsync());
        Assert.True(stream.WasReset);
        var broken = await Assert.ThrowsAsync<StreamResetException>(async () => await stream.WriteAsync(new byte[1], Patience.Token));
        Assert.True(broken.ByPeer);
        await peer.AssertAliveAsync();
    }

    [Fact]
    public async Task Any_other_reset_is_an_error_to_the_reader()
    {
        var (server, peer) = await RawPeer.ToServerAsync();
        await peer.ConnectAsync(1);
        var stream = (await server.NextAsync()).Accept();
        await peer.ResetAsync(1, ErrorCode.InternalError);
        var error = await Assert.ThrowsAsync<StreamResetException>(async () => await stream.ReadAsync(new byte[1], Patience.Token));
        Assert.Equal(ErrorCode.InternalError, error.Code);
    }

    [Fact]
    public async Task A_write_that_waits_for_credit_fails_when_the_peer_resets()
    {
        var (server, peer) = await RawPeer.ToServerAsync();
        await peer.ConnectAsync(1);
        var stream = (await server.NextAsync()).Accept();
        var writing = stream.WriteAsync(new byte[100_000], Patience.Token).AsTask();
        await peer.ResetAsync(1, ErrorCode.Cancel);
        await Assert.ThrowsAsync<StreamResetException>(() => Patience.Within(writing));
    }

    [Fact]
    public async Task Disposing_an_unfinished_stream_resets_it_and_a_finished_one_is_just_gone()
    {
        var (server, peer) = await RawPeer.ToServerAsync();
        await peer.ConnectAsync(1);
        await using (var unfinished = (await server.NextAsync()).Accept()) await unfinished.WriteAsync(new byte[] { 9 }, Patience.Token);
        Assert.Equal(ErrorCode.Cancel, (await peer.ResetOfAsync(1)).Code);
        await peer.ConnectAsync(3, end: true);
        await using (var finished = (await server.NextAsync()).Accept())
        {
            Assert.Empty(await finished.ReadToEndAsync());
            await finished.ShutdownWriteAsync(Patience.Token);
        }
        await peer.PingAsync(7);
        var next = await peer.SkipToAsync(f => f.Header.Type is FrameType.RstStream or FrameType.Ping);
        Assert.Equal(FrameType.Ping, next.Header.Type);
        Assert.Equal(0, server.ActiveStreams);
    }

    [Fact]
    [Scenario("T-13")]
    public async Task Bytes_sent_before_the_answer_are_kept_for_an_accepted_request_and_dropped_for_a_refused_one()
    {
        var (server, peer) = await RawPeer.ToServerAsync(new HboneOptions { ConnectionWindowBytes = 65535, StreamWindowBytes = 65535 }, greet: false);
        await peer.GreetAsync();
        for (var stream = 1; stream < 80; stream += 2)
        {
            // Forty times 16 KB are ten times the connection's window: what is dropped must be credited.
            await peer.ConnectAsync(stream);
            await peer.FrameAsync(FrameType.Data, FrameFlags.None, stream, new byte[16384]);
            (await server.NextAsync()).Reject(401);
            Assert.Equal("401", peer.Decode(await peer.HeadersOfAsync(stream))[0].Value);
        }
        await peer.ConnectAsync(81);
        await peer.FrameAsync(FrameType.Data, FrameFlags.EndStream, 81, 1, 2, 3);
        Assert.Equal([1, 2, 3], await (await server.NextAsync()).Accept().ReadToEndAsync());
    }

    [Fact]
    public async Task Disposing_a_stream_whose_end_is_still_queued_does_not_reset_it()
    {
        var (server, peer) = await RawPeer.ToServerAsync();
        for (var stream = 1; stream < 200; stream += 2)
        {
            await peer.ConnectAsync(stream, end: true);
            await using (var accepted = (await server.NextAsync()).Accept())
            {
                await accepted.WriteAsync(new byte[] { 7 }, Patience.Token);
                await accepted.ShutdownWriteAsync(Patience.Token);
            }
            var last = await peer.SkipToAsync(f => f.Header.StreamId == stream && (f.Header.Type == FrameType.RstStream || (f.Header.Type == FrameType.Data && f.Header.Flags == FrameFlags.EndStream)));
            Assert.Equal(FrameType.Data, last.Header.Type);
        }
    }

    [Fact]
    public async Task Cancelling_a_read_leaves_the_stream_usable_and_cancelling_a_write_resets_it()
    {
        var tunnel = await Loopback.TunnelAsync();
        var (client, server) = await tunnel.StreamAsync();
        using var cancelled = new CancellationTokenSource();
        var reading = server.ReadAsync(new byte[1], cancelled.Token).AsTask();
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => reading);
        await client.WriteAsync(new byte[] { 5 }, Patience.Token);
        Assert.Equal([5], await server.ReadExactlyAsync(1));

        using var soon = new CancellationTokenSource();
        var writing = client.WriteAsync(new byte[8 << 20], soon.Token).AsTask();   // more than the window, and nobody reads
        await soon.CancelAsync();
        await Assert.ThrowsAnyAsync<Exception>(() => Patience.Within(writing));
        Assert.True(client.IsReset);
    }

    [Fact]
    public async Task A_lost_tunnel_fails_every_stream_after_what_had_arrived()
    {
        var (server, peer) = await RawPeer.ToServerAsync();
        await peer.ConnectAsync(1);
        var stream = (await server.NextAsync()).Accept();
        await peer.FrameAsync(FrameType.Data, FrameFlags.None, 1, 7);
        await peer.AssertAliveAsync();
        await peer.Transport.DisposeAsync();
        Assert.Equal([7], await stream.ReadExactlyAsync(1));
        await Assert.ThrowsAsync<TunnelLostException>(async () => await stream.ReadAsync(new byte[1], Patience.Token));
        await Patience.Within(server.Completion);
    }

    [Fact]
    public async Task Abort_tells_the_peer_why()
    {
        var (server, peer) = await RawPeer.ToServerAsync();
        var stream = 1;
        foreach (var (reason, code) in ((AbortReason, ErrorCode)[])[(AbortReason.Cancelled, ErrorCode.Cancel), (AbortReason.OtherSideReset, ErrorCode.ConnectError)])
        {
            await peer.ConnectAsync(stream);
            (await server.NextAsync()).Accept().Abort(reason);
            Assert.Equal(code, (await peer.ResetOfAsync(stream)).Code);
            stream += 2;
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(100)]
    public async Task Answers_other_than_200_close_the_request_side(int times)
    {
        var tunnel = await Loopback.TunnelAsync();
        await Patience.Within(tunnel.Client.SettingsReceived);
        for (var i = 0; i < times; i++)
        {
            var connecting = tunnel.Client.ConnectAsync(Authority, [], Patience.Token);
            (await tunnel.Server.NextAsync()).Reject(503);
            Assert.Equal(503, Assert.IsType<ConnectOutcome.Rejected>(await Patience.Within(connecting)).Status);
            Assert.Equal(0, tunnel.Client.Streams);   // at once: who is told finds the place free
        }
        Assert.Equal(0, tunnel.Client.ActiveStreams);
        Assert.Equal(0, tunnel.Server.ActiveStreams);
    }

    [Fact]
    public async Task A_refused_stream_is_out_of_the_count_when_its_opener_is_told()
    {
        var tunnel = await Loopback.TunnelAsync();
        await Patience.Within(tunnel.Client.SettingsReceived);
        for (var i = 0; i < 100; i++)
        {
            var connecting = tunnel.Client.ConnectAsync(Authority, [], Patience.Token);
            var request = await tunnel.Server.NextAsync();
            request.Connection.ResetLocally(request.Stream, ErrorCode.RefusedStream);
            Assert.IsType<ConnectOutcome.NotProcessed>(await Patience.Within(connecting));
            Assert.Equal(0, tunnel.Client.Streams);
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_stream_is_out_of_the_count_when_its_reader_learns_of_the_end(bool byReset)
    {
        var tunnel = await Loopback.TunnelAsync();
        var (client, server) = await tunnel.StreamAsync();
        await client.ShutdownWriteAsync(Patience.Token);
        Assert.Empty(await server.ReadToEndAsync());
        var left = StreamsAtEndAsync();
        if (byReset) server.Abort();
        else await server.ShutdownWriteAsync(Patience.Token);
        Assert.Equal(0, await Patience.Within(left));

        // Looks on the tunnel's own thread, which cannot make good in between what it left undone.
        async Task<int> StreamsAtEndAsync()
        {
            Assert.Equal(0, await client.ReadAsync(new byte[1], CancellationToken.None).ConfigureAwait(false));
            return tunnel.Client.Streams;
        }
    }

    [Fact]
    public async Task Response_headers_reach_the_caller_and_end_stream_on_them_is_an_empty_answer()
    {
        var (client, peer) = await RawPeer.ToClientAsync();
        var connecting = client.ConnectAsync(Authority, [], Patience.Token);
        await peer.HeadersOfAsync(1);
        await peer.HeadersAsync(1, [new(":status", "200"), new("baggage", "a=b")], FrameFlags.EndHeaders | FrameFlags.EndStream);
        var established = Assert.IsType<ConnectOutcome.Established>(await Patience.Within(connecting));
        Assert.Equal([new HeaderField("baggage", "a=b")], established.Headers);
        Assert.Empty(await established.Stream.ReadToEndAsync());
        await established.Stream.WriteAsync(new byte[] { 3 }, Patience.Token);
        Assert.Equal([3], (await peer.SkipToAsync(f => f.Header.Type == FrameType.Data)).Payload);
    }

    [Fact]
    public async Task A_goaway_that_leaves_a_stream_out_lets_it_be_tried_elsewhere()
    {
        var (client, peer) = await RawPeer.ToClientAsync();
        var first = client.ConnectAsync(Authority, [], Patience.Token);
        var second = client.ConnectAsync(Authority, [], Patience.Token);
        await peer.HeadersOfAsync(3);
        await peer.FrameAsync(FrameType.GoAway, FrameFlags.None, 0, [.. RawPeer.UInt32(1), 0, 0, 0, 0]);
        Assert.IsType<ConnectOutcome.NotProcessed>(await Patience.Within(second));
        await peer.HeadersAsync(1, [new(":status", "200")]);
        Assert.IsType<ConnectOutcome.Established>(await Patience.Within(first));
        Assert.True(client.IsGoingAway);
    }

    [Fact]
    [Scenario("L4-016")]
    public async Task A_peer_that_stops_answering_pings_is_dropped_after_ten_and_twenty_seconds()
    {
        var clock = new FakeTimeProvider();
        var (client, peer) = await RawPeer.ToClientAsync(clock: clock);
        var connecting = client.ConnectAsync(Authority, [], Patience.Token);
        await peer.HeadersOfAsync(1);
        await peer.HeadersAsync(1, [new(":status", "200")]);
        var stream = Assert.IsType<ConnectOutcome.Established>(await Patience.Within(connecting)).Stream;
        clock.Advance(TimeSpan.FromSeconds(10));
        await peer.SkipToAsync(f => f.Header.Type == FrameType.Ping);
        clock.Advance(TimeSpan.FromSeconds(20) - TimeSpan.FromMilliseconds(1));
        Assert.False(client.IsClosing);
        clock.Advance(TimeSpan.FromMilliseconds(1));
        await Assert.ThrowsAsync<TunnelLostException>(async () => await stream.ReadAsync(new byte[1], Patience.Token));
        await Patience.Within(client.Completion);
        await peer.AssertClosedAsync();
    }

    [Fact]
    [Scenario("L4-016")]
    public async Task A_server_says_goaway_to_a_client_that_stops_answering_pings()
    {
        var clock = new FakeTimeProvider();
        var (server, peer) = await RawPeer.ToServerAsync(clock: clock);
        await peer.ConnectAsync(1);
        var stream = (await server.NextAsync()).Accept();
        clock.Advance(TimeSpan.FromSeconds(10));
        await peer.SkipToAsync(f => f.Header is { Type: FrameType.Ping, Flags: FrameFlags.None });
        clock.Advance(TimeSpan.FromSeconds(20));
        Assert.Equal(ErrorCode.NoError, (await peer.GoAwayAsync()).Code);
        await peer.AssertClosedAsync();
        await Assert.ThrowsAsync<TunnelLostException>(async () => await stream.ReadAsync(new byte[1], Patience.Token));
        await Patience.Within(server.Completion);
    }

    [Fact]
    public async Task A_request_that_carries_what_the_reference_sends_is_read_header_by_header()
    {
        var tunnel = await Loopback.TunnelAsync();
        HeaderField[] sent = [new("baggage", "k8s.cluster.name=Kubernetes"), new("forwarded", "for=\"10.98.0.1:40910\""), new("traceparent", "00-a8-3d-00"), new("x-forwarded-network", "")];
        var connecting = tunnel.Client.ConnectAsync(HboneAuthority.Of("server.default.svc.cluster.local", 80), sent, Patience.Token);
        var request = await tunnel.Server.NextAsync();
        Assert.Null(request.Problem);
        Assert.Equal(("server.default.svc.cluster.local", 80, null), (request.Authority!.Host, request.Authority.Port, request.Authority.Address));
        Assert.Equal(sent, request.Headers);
        Assert.Equal([""], request.Values("x-forwarded-network"));
        request.Accept(new HeaderField("baggage", "x=y"));
        Assert.IsType<ConnectOutcome.Established>(await Patience.Within(connecting));
    }

    private static async Task SendAllAsync(HboneStream stream, byte[] bytes)
    {
        await stream.WriteAsync(bytes, Patience.Token);
        await stream.ShutdownWriteAsync(Patience.Token);
    }

    private static async Task EchoAsync(HboneStream stream)
    {
        var buffer = new byte[20_000];
        while (await stream.ReadAsync(buffer, Patience.Token) is > 0 and var count) await stream.WriteAsync(buffer.AsMemory(0, count), Patience.Token);
        await stream.ShutdownWriteAsync(Patience.Token);
    }

    private static async Task ExpectAsync(HboneStream stream, byte[] bytes) => Assert.Equal(bytes, await stream.ReadToEndAsync());
}
