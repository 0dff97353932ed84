using AmbientMesh.Hbone.Http2;

namespace AmbientMesh.Hbone.Tests;

/// <summary>Our server end answers what the recorded one answered, byte for byte.</summary>
public class RecordedServerTests
{
    [Theory]
    [InlineData("01-connect-200")]
    [InlineData("02-rejections-one-connection")]
    [InlineData("03-ipv6")]
    [InlineData("04-authority-family-differs")]
    [InlineData("05-connect-with-scheme-and-path")]
    [InlineData("06-source-ip-unknown")]
    [InlineData("07-x-forwarded-network")]
    [InlineData("08-deny-by-namespace-401")]
    [InlineData("09-not-in-allow-401")]
    [InlineData("10-in-allow-200")]
    [InlineData("11-policy-change-closes-open-stream")]
    [InlineData("12-keepalive-ping")]
    [InlineData("13-drain-open-stream")]
    [InlineData("15-peer-resets-stream")]
    [Scenario("L4-070")]
    public async Task Our_server_answers_what_the_recorded_one_answered(string name) =>
        await new ServerReplay(Recording.Read($"hbone-server/{name}.frames.txt")).RunAsync();

    [Fact]
    [Scenario("L4-079")]
    public async Task Bytes_that_are_not_http2_are_answered_by_closing_without_goaway()
    {
        var recorded = DecryptedBytes("25-malformed-preface.txt");
        var (_, peer) = await RawPeer.ToServerAsync(greet: false);
        await peer.SendAsync("GET / HTTP/1.1\r\nHost: x\r\n\r\n"u8.ToArray());
        Assert.Equal(recorded, Convert.ToHexStringLower(await peer.Transport.ReadToEndAsync()));
    }

    [Fact]
    public async Task Data_on_an_idle_stream_ends_the_connection_with_the_recorded_goaway()
    {
        var recorded = Convert.FromHexString(DecryptedBytes("26-preface-then-bad-frame.txt"));
        var (_, peer) = await RawPeer.ToServerAsync(greet: false);
        await peer.SendAsync(FrameWriter.Preface.ToArray());
        await peer.SettingsAsync();
        await peer.FrameAsync(FrameType.Data, FrameFlags.None, 1, 1, 2, 3);
        var received = await peer.Transport.ReadToEndAsync();
        // Ours also carries the connection's window, which the recorded server had not got round to, and says why in the GOAWAY.
        Assert.StartsWith(Convert.ToHexStringLower(recorded.AsSpan(0, 33 + 9)), Convert.ToHexStringLower(received), StringComparison.Ordinal);
        var goAway = recorded.AsSpan(42 + 3, 1 + 5 + 8).ToArray();   // type to code, without the length
        Assert.True(received.AsSpan().IndexOf(goAway) > 0, "There is no GOAWAY(0, PROTOCOL_ERROR).");
    }

    [Fact]
    public async Task The_201st_stream_is_refused_as_recorded()
    {
        var recorded = Samples.Text("samples/ztunnel/hbone-server/16-more-than-200-streams.txt");
        var (_, peer) = await RawPeer.ToServerAsync();
        for (var i = 0; i < 203; i++) await peer.ConnectAsync(1 + (2 * i));
        foreach (var stream in (int[])[401, 403, 405])
            Assert.Contains(Convert.ToHexStringLower((await peer.ResetOfAsync(stream)).Bytes), recorded, StringComparison.Ordinal);
        await peer.AssertAliveAsync();
    }

    private static string DecryptedBytes(string file) =>
        Samples.Text($"samples/ztunnel/hbone-server/{file}").Split('\n').Single(l => l.StartsWith("then decrypted", StringComparison.Ordinal)).Split(": ")[1].Trim();

    /// <summary>Sends the recorded client's frames; the application behind our server decides as the recorded answers say.</summary>
    private sealed class ServerReplay(List<RecordedFrame> frames)
    {
        private readonly FakeTimeProvider _clock = new();
        private readonly Dictionary<int, HboneStream> _streams = [];
        private HboneServerConnection _server = null!;
        private RawPeer _peer = null!;

        public async Task RunAsync()
        {
            (_server, _peer) = await RawPeer.ToServerAsync(clock: _clock, greet: false);
            foreach (var frame in frames)
            {
                if (frame.FromZtunnel) await ExpectAsync(frame);
                else await PlayAsync(frame);
            }
        }

        private async Task PlayAsync(RecordedFrame frame)
        {
            switch (frame.Kind)
            {
                case "PREFACE": await _peer.SendAsync(frame.Bytes!); break;
                case "SETTINGS" when frame.Flags == FrameFlags.Ack: await _peer.FrameAsync(FrameType.Settings, FrameFlags.Ack, 0); break;
                case "SETTINGS": await _peer.SettingsAsync((SettingId.EnablePush, 0), (SettingId.InitialWindowSize, 4 << 20), (SettingId.MaxFrameSize, 1 << 20)); break;
                case "WINDOW_UPDATE": await _peer.WindowUpdateAsync(0, 16711681); break;
                case "HEADERS": await _peer.SendAsync(frame.Bytes!); break;
                case "DATA": await _peer.FrameAsync(FrameType.Data, frame.Flags, frame.Stream, new byte[frame.Length]); break;
                case "RST_STREAM": await ResetAsync(frame); break;
                case "PING": await _peer.FrameAsync(FrameType.Ping, FrameFlags.Ack, 0, Convert.FromHexString(frame.Text.Trim().Split(' ')[^1])); await SettleAsync(frame); break;
            }
        }

        /// <summary>The PING's answer was seen, so that the next one is armed before the clock moves.</summary>
        private async Task SettleAsync(RecordedFrame ping)
        {
            if (!ping.Text.Contains("0b7ba2f08b9bfe54", StringComparison.Ordinal)) await _peer.AssertAliveAsync();
        }

        private async Task ResetAsync(RecordedFrame frame)
        {
            await _peer.ResetAsync(frame.Stream, ErrorCode.Cancel);
            Assert.Equal(0, await _streams[frame.Stream].ReadAsync(new byte[1], Patience.Token));
            Assert.True(_streams[frame.Stream].WasReset);
        }

        private async Task ExpectAsync(RecordedFrame frame)
        {
            switch (frame.Kind)
            {
                case "HEADERS": await AnswerAsync(frame); break;
                case "DATA": await SendAsync(frame); return;
                case "RST_STREAM" when frame.Text.Contains("CANCEL", StringComparison.Ordinal): _streams[frame.Stream].Abort(); break;
                case "PING" when frame.At >= TimeSpan.FromSeconds(10): _clock.Advance(TimeSpan.FromSeconds(10)); break;
                case "GOAWAY" when frame.Text.Contains("2147483647", StringComparison.Ordinal): _server.BeginDrain(); break;
                case "EOF":
                    var closing = _server.CloseAsync().AsTask();
                    Assert.Null(await _peer.NextAsync());   // no RST_STREAM, no GOAWAY: as recorded
                    await Patience.Within(closing);
                    return;
            }
            await CompareAsync(frame);
        }

        private async Task AnswerAsync(RecordedFrame answer)
        {
            var request = await _server.NextAsync();
            Assert.Equal(answer.Stream, request.StreamId);
            var status = int.Parse(answer.Headers[0].Value);
            Assert.True(request.Problem is null || status == 400, request.Problem);
            if (status == 200) _streams[answer.Stream] = request.Accept([.. answer.Headers.Skip(1)]);
            else request.Reject(status);
        }

        private async Task SendAsync(RecordedFrame frame)
        {
            var stream = _streams[frame.Stream];
            if (frame.Length > 0)
            {
                await stream.ReadExactlyAsync(frame.Length);
                await stream.WriteAsync(frame.Bytes!.AsMemory(9), Patience.Token);
            }
            else
            {
                Assert.Equal(0, await stream.ReadAsync(new byte[1], Patience.Token));
                await stream.ShutdownWriteAsync(Patience.Token);
            }
            await CompareAsync(frame);
        }

        private async Task CompareAsync(RecordedFrame expected)
        {
            // The recorded server sends its SETTINGS acknowledgement and its window in either order.
            if (expected.Kind == "WINDOW_UPDATE" || (expected.Kind == "SETTINGS" && expected.Flags == FrameFlags.Ack)) return;
            var actual = await _peer.SkipToAsync(f => f.Header.Type != FrameType.WindowUpdate && !(f.Header is { Type: FrameType.Settings, Flags: FrameFlags.Ack }));
            Assert.Equal(Convert.ToHexStringLower(expected.Bytes!), Convert.ToHexStringLower(actual.Bytes));
        }
    }
}
