using AmbientMesh.Hbone.Http2;
using FsCheck;
using FsCheck.Fluent;

namespace AmbientMesh.Hbone.Tests;

public class FrameReaderTests
{
    /// <summary>Writes down what it is told, DATA bytes joined.</summary>
    private sealed class Log : IFrameHandler
    {
        private readonly List<string> _lines = [];
        private readonly List<byte> _data = [];

        public string Text => string.Join('\n', _lines);

        public void OnData(int streamId, int flowBytes, int payloadBytes, bool endStream) => _lines.Add($"data {streamId} {flowBytes} {payloadBytes} {endStream}");
        public void OnDataBytes(Block block, int offset, int count) => _data.AddRange(block.Array.AsSpan(offset, count));

        public void OnDataEnd()
        {
            _lines.Add(Convert.ToHexString(_data.ToArray()));
            _data.Clear();
        }

        public void OnHeaders(int streamId, ReadOnlySpan<byte> block, bool endStream) => _lines.Add($"headers {streamId} {Convert.ToHexString(block)} {endStream}");
        public void OnPriority(int streamId) => _lines.Add($"priority {streamId}");
        public void OnReset(int streamId, ErrorCode code) => _lines.Add($"reset {streamId} {code}");
        public void OnSettings(ReadOnlySpan<byte> payload) => _lines.Add($"settings {Convert.ToHexString(payload)}");
        public void OnSettingsAck() => _lines.Add("ack");
        public void OnPing(ulong payload, bool ack) => _lines.Add($"ping {payload:x} {ack}");
        public void OnGoAway(int lastStreamId, ErrorCode code, string debug) => _lines.Add($"goaway {lastStreamId} {code} {debug}");
        public void OnWindowUpdate(int streamId, int increment) => _lines.Add($"window {streamId} {increment}");
        public void OnHeaderBlockOpen(bool open) { }
        public void OnUnknown() { }
        public void Failed(ConnectionErrorException e) => _lines.Add($"{e.Code}: {e.Message}");
    }

    private static readonly Gen<byte[]> AnyFrame =
        from type in Gen.Choose(0, 11)
        from flags in Gen.Elements<byte>(0, 1, 4, 5, 8, 9, 0x20, 0x2d)
        from stream in Gen.Elements(0, 1, 3)
        from payload in Gen.Elements(0, 4, 5, 6, 8, 12, 40).SelectMany(n => Gen.Choose(0, 20).Select(b => (byte)b).ArrayOf(n))
        select new RawFrame(new FrameHeader(payload.Length, (FrameType)type, (FrameFlags)flags, stream), payload).Bytes;

    private static string Read(byte[] input, IEnumerable<int> cuts)
    {
        var log = new Log();
        var reader = new FrameReader(log, 1 << 20, 4096);
        var block = Block.Rent(input.Length + 1);
        var start = 0;
        try
        {
            var ends = cuts.Append(input.Length).Order();
            foreach (var end in ends)
            {
                input.AsSpan(0, end).CopyTo(block.Array);
                start = reader.Consume(block, start, end);
            }
        }
        catch (ConnectionErrorException e)
        {
            log.Failed(e);
        }
        block.Release();
        return log.Text;
    }

    [Fact]
    public void Frames_mean_the_same_however_the_bytes_are_cut()
    {
        var settings = new RawFrame(new FrameHeader(0, FrameType.Settings, FrameFlags.None, 0), []).Bytes;
        var cases = from frames in AnyFrame.ListOf()
                    let bytes = (byte[])[.. settings, .. frames.SelectMany(f => f)]
                    from cuts in Gen.Choose(0, bytes.Length).ListOf()
                    select (bytes, cuts);
        Prop.ForAll(cases.ToArbitrary(), c =>
        {
            var whole = Read(c.bytes, []).Split('\n');
            var cut = Read(c.bytes, c.cuts).Split('\n');
            return whole.SequenceEqual(cut);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(1000));
    }

    [Fact]
    public void Any_bytes_are_frames_or_an_error_and_nothing_else()
    {
        Prop.ForAll<byte[]>(bytes => Read(bytes, Enumerable.Range(0, bytes.Length)).Length >= 0).Check(Config.QuickThrowOnFailure.WithMaxTest(1000));
    }

    [Fact]
    public void Frame_headers_survive_writing_and_reading()
    {
        Prop.ForAll<uint, ushort, uint>((length, typeAndFlags, stream) =>
        {
            var header = new FrameHeader((int)(length & 0xff_ffff), (FrameType)(typeAndFlags >> 8), (FrameFlags)(typeAndFlags & 0xff), (int)(stream & 0x7fff_ffff));
            var bytes = new byte[FrameHeader.Size];
            header.Write(bytes);
            return FrameHeader.Read(bytes) == header;
        }).QuickCheckThrowOnFailure();
    }
}
