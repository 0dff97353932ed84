using System.Text;
using AmbientMesh.Hbone.Http2;

namespace AmbientMesh.Hbone.Tests;

/// <summary>Our client end does what the recorded one did, frame by frame, against the recorded peer.</summary>
public class RecordedClientTests
{
    [Theory]
    [InlineData("hbone-client/hb-conn1.frames.txt")]
    [InlineData("hbone-client/hb-conn2.frames.txt")]
    [InlineData("hbone-client/hb-conn3.frames.txt")]
    [InlineData("hbone-client/hb6-conn1.frames.txt")]
    [InlineData("hbone-client/wp-conn1.frames.txt")]
    [InlineData("double-hbone/inner-conn1.frames.txt")]
    [InlineData("double-hbone/inner-conn2.frames.txt")]
    [Scenario("L4-012")]
    public async Task Our_client_sends_what_the_recorded_one_sent(string recording) => await new ClientReplay(Recording.Read(recording)).RunAsync();

    /// <remarks>Not hb6-conn1, where the acknowledgement of the peer's SETTINGS happens to stand in between.</remarks>
    [Theory]
    [InlineData("hbone-client/hb-conn1")]
    [InlineData("hbone-client/wp-conn1")]
    [InlineData("hbone-client/default-settings-conn1")]
    public async Task The_first_bytes_of_a_tunnel_are_the_recorded_ones(string recording)
    {
        var recorded = Samples.Hex($"samples/ztunnel/{recording}.first-decrypted-bytes.hex");
        var connect = Recording.Read($"{recording}.frames.txt").First(f => f.FromZtunnel && f.Kind == "HEADERS");
        var length = recorded.AsSpan().IndexOf(connect.Bytes) + connect.Bytes!.Length;
        var (near, far) = await Loopback.PairAsync();
        var client = HboneClientConnection.Start(near, new HboneOptions());
        _ = client.ConnectAsync(AuthorityOf(connect), connect.Headers[2..], Patience.Token);

        Assert.Equal(Convert.ToHexStringLower(recorded.AsSpan(0, length)), Convert.ToHexStringLower(await far.ReadExactlyAsync(length)));
    }

    internal static HboneAuthority AuthorityOf(RecordedFrame connect)
    {
        Assert.True(HboneAuthority.TryParse(connect.Headers[1].Value, out var authority));
        return authority!;
    }

    /// <summary>Plays the recorded peer, makes our client do what led to each recorded frame of ztunnel, and compares.</summary>
    private sealed class ClientReplay(List<RecordedFrame> frames)
    {
        private readonly FakeTimeProvider _clock = new();
        private readonly Dictionary<int, Task<ConnectOutcome>> _connects = [];
        private readonly Dictionary<int, HboneStream> _streams = [];
        private HboneClientConnection _client = null!;
        private RawPeer _peer = null!;

        public async Task RunAsync()
        {
            var (near, far) = await Loopback.PairAsync();
            _client = HboneClientConnection.Start(near, new HboneOptions(), clock: _clock);
            _peer = new RawPeer(far);
            foreach (var frame in frames)
            {
                if (frame.FromZtunnel) await ExpectAsync(frame);
                else await PlayAsync(frame);
            }
            await Patience.Within(_client.CloseAsync().AsTask());
        }

        private Task PlayAsync(RecordedFrame frame) => frame.Kind switch
        {
            "SETTINGS" when frame.Flags == FrameFlags.Ack => _peer.FrameAsync(FrameType.Settings, FrameFlags.Ack, 0),
            "SETTINGS" => _peer.SettingsAsync((SettingId.MaxConcurrentStreams, 200), (SettingId.InitialWindowSize, 4 << 20), (SettingId.MaxFrameSize, 1 << 20), (SettingId.MaxHeaderListSize, 65536)),
            "WINDOW_UPDATE" => _peer.WindowUpdateAsync(0, 16711681),
            "HEADERS" => _peer.SendAsync(frame.Bytes!),
            "DATA" => _peer.FrameAsync(FrameType.Data, frame.Flags, frame.Stream, new byte[frame.Length]),
            "RST_STREAM" => PeerResetsAsync(frame),
            "GOAWAY" => _peer.FrameAsync(FrameType.GoAway, FrameFlags.None, 0, [.. RawPeer.UInt32(15), 0, 0, 0, 0]),
            _ => Task.CompletedTask,   // PING acknowledgements are sent where the PING is expected; markers
        };

        /// <summary>In the recording our DATA crossed the peer's reset on the wire; here the write must come first.</summary>
        private async Task PeerResetsAsync(RecordedFrame frame)
        {
            var crossing = frames.SkipWhile(f => f != frame).FirstOrDefault(f => f is { FromZtunnel: true, Kind: "DATA" } && f.Stream == frame.Stream);
            if (crossing is not null) await SendDataAsync(crossing);
            await _peer.ResetAsync(frame.Stream, ErrorCode.Cancel);
        }

        private async Task ExpectAsync(RecordedFrame frame)
        {
            switch (frame.Kind)
            {
                case "PREFACE":
                    Assert.Equal(frame.Bytes, await _peer.Transport.ReadExactlyAsync(24));
                    return;
                case "SETTINGS" when frame.Flags == FrameFlags.Ack:
                case "DATA" when frames.Any(f => f is { FromZtunnel: false, Kind: "RST_STREAM" } && f.Stream == frame.Stream):
                case "DATA" when frame.Repeat > 1:
                    return;   // acknowledgements may come at any time; crossed data was compared; bulk is compared by its sum
                case "EOF":
                    return;
                case "HEADERS":
                    _connects[frame.Stream] = _client.ConnectAsync(AuthorityOf(frame), frame.Headers[2..], Patience.Token);
                    break;
                case "DATA" when frame.Bytes is null && frame.Length > 1024:
                    return;
                case "DATA" when frame.Stream == 11 && frame.Flags == FrameFlags.EndStream:
                    await UploadAsync(frame.Stream, 1 << 20);
                    return;
                case "DATA":
                    await SendDataAsync(frame);
                    return;
                case "RST_STREAM" when (await _connects[frame.Stream]) is ConnectOutcome.Established established:
                    established.Stream.Abort();
                    break;
                case "GOAWAY" when !_client.IsGoingAway:
                    _ = _client.SayGoodbyeAsync();
                    break;
                case "PING":
                    _clock.Advance(TimeSpan.FromSeconds(10));
                    await CompareAsync(frame);
                    await _peer.FrameAsync(FrameType.Ping, FrameFlags.Ack, 0, frame.Bytes![9..]);
                    await _peer.AssertAliveAsync();   // the acknowledgement was seen, so the next PING is due in 10 s
                    return;
            }
            await CompareAsync(frame);
        }

        private async Task<HboneStream> StreamAsync(int id)
        {
            if (_streams.TryGetValue(id, out var stream)) return stream;
            return _streams[id] = Assert.IsType<ConnectOutcome.Established>(await Patience.Within(_connects[id])).Stream;
        }

        private async Task SendDataAsync(RecordedFrame frame)
        {
            var stream = await StreamAsync(frame.Stream);
            if (frame.Length > 0) await stream.WriteAsync(frame.Bytes is { } bytes ? bytes[9..] : Encoding.ASCII.GetBytes(new string('a', frame.Length)), Patience.Token);
            else await stream.ShutdownWriteAsync(Patience.Token);
            await CompareAsync(frame);
        }

        private async Task UploadAsync(int id, int bytes)
        {
            var stream = await StreamAsync(id);
            await stream.WriteAsync(new byte[bytes], Patience.Token);
            await stream.ShutdownWriteAsync(Patience.Token);
            var total = 0;
            for (RawFrame frame; total < bytes; total += frame.Payload.Length)
            {
                frame = await _peer.SkipToAsync(f => f.Header.Type == FrameType.Data);
                Assert.InRange(frame.Payload.Length, 1, 1 << 20);
            }
            Assert.Equal(bytes, total);
            var last = await _peer.SkipToAsync(f => f.Header.Type == FrameType.Data);
            Assert.Equal((0, FrameFlags.EndStream), (last.Payload.Length, last.Header.Flags));
        }

        private async Task CompareAsync(RecordedFrame expected)
        {
            var actual = await _peer.SkipToAsync(f => !(f.Header is { Type: FrameType.Settings, Flags: FrameFlags.Ack }));
            if (expected.Bytes is { } bytes) Assert.Equal(Convert.ToHexStringLower(bytes), Convert.ToHexStringLower(actual.Bytes));
            else Assert.Equal((expected.Length, expected.Flags, expected.Stream), (actual.Header.Length, actual.Header.Flags, actual.Header.StreamId));
        }
    }
}
