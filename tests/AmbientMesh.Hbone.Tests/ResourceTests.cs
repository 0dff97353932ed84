using AmbientMesh.Hbone.Http2;

namespace AmbientMesh.Hbone.Tests;

/// <summary>What a peer can make us keep or compute: bounded, and proportional to what it sends.</summary>
[Collection(nameof(Alone))]
public class ResourceTests
{
    [Fact]
    [Scenario("T-04")]
    public async Task Indexed_fields_do_not_multiply_into_memory()
    {
        var (_, peer) = await RawPeer.ToServerAsync();
        // One field of 4000 bytes enters the table, then a block refers to it 60,000 times: 240 MB if expanded.
        await peer.HeadersAsync(1, [.. RawPeer.ConnectFields(), new("x", new string('y', 4000))]);
        var before = GC.GetTotalAllocatedBytes();
        await peer.FrameAsync(FrameType.Headers, FrameFlags.EndHeaders, 3, [.. Enumerable.Repeat((byte)0xbe, 60000)]);
        Assert.Equal(ErrorCode.EnhanceYourCalm, (await peer.ResetOfAsync(3)).Code);
        Assert.True(GC.GetTotalAllocatedBytes() - before < 2_000_000);
        await peer.AssertAliveAsync();
    }

    [Fact]
    [Scenario("T-13")]
    public async Task Bytes_before_the_answer_are_kept_up_to_a_limit_and_the_stream_is_reset_beyond()
    {
        var (server, peer) = await RawPeer.ToServerAsync();
        await peer.ConnectAsync(1);
        await peer.ConnectAsync(3);
        var (kept, excessive) = (await server.NextAsync(), await server.NextAsync());
        for (var i = 0; i < 4; i++) await peer.FrameAsync(FrameType.Data, FrameFlags.None, 1, new byte[16 << 10]);
        for (var i = 0; i < 5; i++) await peer.FrameAsync(FrameType.Data, FrameFlags.None, 3, new byte[16 << 10]);
        Assert.Equal(ErrorCode.EnhanceYourCalm, (await peer.ResetOfAsync(3)).Code);
        Assert.True(excessive.IsGone);
        await using var stream = kept.Accept();
        Assert.Equal(64 << 10, (await stream.ReadExactlyAsync(64 << 10)).Length);
        await peer.FrameAsync(FrameType.Data, FrameFlags.EndStream, 1, new byte[100_000]);   // an answered stream has its whole window
        Assert.Equal(100_000, (await stream.ReadToEndAsync()).Length);
        await peer.AssertAliveAsync();
    }

    [Fact]
    [Scenario("T-08")]
    public async Task An_idle_stream_costs_a_few_kilobytes()
    {
        const int Streams = 2000;
        var (server, peer) = await RawPeer.ToServerAsync(new HboneOptions { MaxConcurrentStreams = Streams });
        await OpenAsync(server, peer, 1, 100);
        var before = GC.GetTotalMemory(forceFullCollection: true);
        var kept = await OpenAsync(server, peer, 201, Streams - 100);
        var each = (GC.GetTotalMemory(forceFullCollection: true) - before) / (Streams - 100);
        Assert.True(each < 4096, $"{each} bytes for each idle stream");
        GC.KeepAlive(kept);
    }

    [Fact]
    [Scenario("T-08")]
    public async Task Streams_nobody_reads_hold_no_more_than_the_connections_window()
    {
        var options = new HboneOptions { StreamWindowBytes = 1 << 20, ConnectionWindowBytes = 2 << 20 };
        var (server, peer) = await RawPeer.ToServerAsync(options);
        var streams = await OpenAsync(server, peer, 1, 50);
        var frame = new byte[100_000];
        var most = 4L * options.ConnectionWindowBytes;   // the window grows while slow streams hold credit, as far as this
        var before = GC.GetTotalMemory(forceFullCollection: true);
        var sent = 0L;
        for (var round = 0; sent + frame.Length <= most; round++, sent += frame.Length) await peer.FrameAsync(FrameType.Data, FrameFlags.None, 1 + (2 * (round % 50)), frame);
        await peer.AssertAliveAsync();
        var held = GC.GetTotalMemory(forceFullCollection: true) - before;
        Assert.True(held < most + (3 << 20), $"{held} bytes are held");
        await peer.FrameAsync(FrameType.Data, FrameFlags.None, 1, frame);   // one more is beyond all credit
        await Patience.Within(server.Completion);
        Assert.Equal(ErrorCode.FlowControlError, Assert.IsType<ConnectionErrorException>(server.Failure).Code);
        GC.KeepAlive(streams);
        await server.CloseAsync();
    }

    [Fact]
    [Scenario("T-06")]
    public async Task Opening_and_resetting_costs_the_same_whether_few_or_many_streams_are_open()
    {
        var few = await ChurnAsync(open: 10);
        var many = await ChurnAsync(open: 8000);
        Assert.True(many < (few * 4) + TimeSpan.FromMilliseconds(250), $"2000 open/reset pairs took {few.TotalMilliseconds} ms of processor time beside 10 streams and {many.TotalMilliseconds} ms beside 8000");
    }

    /// <summary>The least processor time of three for 2000 streams that are opened, used and reset.</summary>
    private static async Task<TimeSpan> ChurnAsync(int open)
    {
        var (server, peer) = await RawPeer.ToServerAsync(new HboneOptions { MaxConcurrentStreams = 20_000 });
        var streams = await OpenAsync(server, peer, 1, open);
        var next = 1 + (2 * open);
        var best = TimeSpan.MaxValue;
        for (var round = 0; round < 3; round++)
        {
            var bytes = new MemoryStream();
            for (var i = 0; i < 2000; i++, next += 2)
            {
                Put(bytes, FrameType.Headers, FrameFlags.EndHeaders, next, peer.Block(RawPeer.ConnectFields()));
                Put(bytes, FrameType.Data, FrameFlags.None, next, [1]);
                Put(bytes, FrameType.RstStream, FrameFlags.None, next, RawPeer.UInt32((uint)ErrorCode.Cancel));
            }
            var started = Environment.CpuUsage.TotalTime;   // what others do meanwhile does not count; this collection runs alone
            await peer.SendAsync(bytes.ToArray());
            await peer.AssertAliveAsync((ulong)round + 1);
            var time = Environment.CpuUsage.TotalTime - started;
            if (time < best) best = time;
        }
        Assert.Equal(open, server.ActiveStreams);
        GC.KeepAlive(streams);
        return best;
    }

    private static void Put(Stream bytes, FrameType type, FrameFlags flags, int stream, byte[] payload) =>
        bytes.Write(new RawFrame(new FrameHeader(payload.Length, type, flags, stream), payload).Bytes);

    private static async Task<List<HboneStream>> OpenAsync(HboneServerConnection server, RawPeer peer, int first, int count)
    {
        var streams = new List<HboneStream>();
        for (var stream = first; streams.Count < count; stream += 2)
        {
            await peer.ConnectAsync(stream);
            streams.Add((await server.NextAsync()).Accept());
            await peer.HeadersOfAsync(stream);
        }
        return streams;
    }
}
