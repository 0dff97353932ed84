using System.Buffers.Binary;
using AmbientMesh.Hbone;
using AmbientMesh.Hbone.Hpack;
using AmbientMesh.Hbone.Http2;
using AmbientMesh.Testing;

namespace AmbientMesh.Fuzz.Targets;

/// <summary>Bytes of HTTP/2 frames for seeds and words.</summary>
internal static class FrameBytes
{
    public static byte[] Of(FrameType type, int flags, int stream, params byte[] payload)
    {
        var bytes = new byte[FrameHeader.Size + payload.Length];
        new FrameHeader(payload.Length, type, (FrameFlags)flags, stream).Write(bytes);
        payload.CopyTo(bytes, FrameHeader.Size);
        return bytes;
    }

    public static byte[] Block(params HeaderField[] fields)
    {
        var output = new OutputBuffer(256);
        new HpackEncoder().Encode(fields, output);
        return output.Written.ToArray();
    }

    public static byte[] U32(uint value)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        return bytes;
    }

    public static byte[] Connect(int stream, int flags = 4) => Of(FrameType.Headers, flags, stream, Block(new(":method", "CONNECT"), new(":authority", "10.0.0.1:81"), new("baggage", "k8s.cluster.name=a")));

    /// <summary>One of each kind, in an order a peer might send them.</summary>
    public static IEnumerable<byte[]> Samples =>
    [
        Of(FrameType.Settings, 0, 0, [0, 3, 0, 0, 0, 100, 0, 4, 0, 64, 0, 0, 0, 5, 0, 0, 64, 0]),
        Of(FrameType.Settings, 1, 0),
        Of(FrameType.WindowUpdate, 0, 0, U32(1 << 20)),
        Connect(1),
        Of(FrameType.Data, 0, 1, [1, 2, 3]),
        Of(FrameType.Data, 9, 1, [2, 7, 0, 0]),
        Of(FrameType.Ping, 0, 0, new byte[8]),
        Of(FrameType.Priority, 0, 1, new byte[5]),
        Of(FrameType.RstStream, 0, 1, U32(8)),
        Of(FrameType.Headers, 0, 3, Block(new HeaderField(":method", "CONNECT"))),
        Of(FrameType.Continuation, 4, 3, Block(new HeaderField(":authority", "a.b:80"))),
        Of(FrameType.GoAway, 0, 0, [0, 0, 0, 1, 0, 0, 0, 0, 104, 105]),
        Of(FrameType.WindowUpdate, 0, 3, U32(0x7fffffff)),
        Of(FrameType.PushPromise, 4, 1, [0, 0, 0, 2, 0x82]),
        Of((FrameType)0x5a, 0, 1, [1]),
    ];

    /// <summary>Demands that what we sent is frames within the sizes the peer allows by default.</summary>
    public static void DemandWellFormed(ReadOnlySpan<byte> told)
    {
        while (told.Length >= FrameHeader.Size)
        {
            var frame = FrameHeader.Read(told);
            Demand.That(FrameHeader.Size + frame.Length <= told.Length, "what we send is whole frames");
            Demand.That(frame.Type <= FrameType.Continuation, "we send frames that exist");
            told = told[(FrameHeader.Size + frame.Length)..];
        }
        Demand.That(told.IsEmpty, "what we send is whole frames");
    }
}

/// <summary>What both ends promise.</summary>
internal static class TunnelPromises
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    public static void Check(HboneConnection tunnel, ScriptedTransport transport, int inputBytes, int prefaceBytes)
    {
        Demand.That(tunnel.Completion.Wait(Limit), "the tunnel ends when its peer does");
        Demand.That(tunnel.Failure is null or ConnectionErrorException or TunnelLostException, $"a tunnel fails by what the peer did: {tunnel.Failure?.GetType()}");
        Demand.Equal(0, tunnel.ActiveStreams, "streams left open");
        var told = transport.Told;
        Demand.That(told.Length <= 4096 + (inputBytes * 16), $"answers are not many times larger than questions: {told.Length} for {inputBytes}");
        if (told.Length >= prefaceBytes) FrameBytes.DemandWellFormed(told.AsSpan(prefaceBytes));
    }

    /// <summary>Waits for work the tunnel's end has set free.</summary>
    public static void Finish(Task work, string what) => Demand.That(work.ContinueWith(static _ => { }, TaskScheduler.Default).Wait(Limit), what);
}

/// <summary>Our HBONE server: any bytes after (or instead of) the preface.</summary>
public sealed class Http2ServerTarget : FuzzTarget
{
    public override string Name => "http2-server";
    public override string Purpose => "a whole HBONE server connection: ends with its peer, leaves no stream, answers in well-formed frames, bounded";
    public override int MaxBytes => 8192;

    // First byte: pieces of input per read; bit 7 leaves the preface to the input.
    public override IEnumerable<byte[]> Seeds() =>
    [
        SeedBytes.Of(0, [.. FrameBytes.Samples.SelectMany(f => f)]),
        .. FrameBytes.Samples.Skip(3).Select(f => SeedBytes.Of(0, [.. FrameBytes.Samples.First(), .. FrameBytes.Connect(1), .. f])),
        SeedBytes.Of(0x80, [.. FrameWriter.Preface]),
    ];

    public override IEnumerable<byte[]> Words() => FrameBytes.Samples;

    public override void Run(byte[] input)
    {
        var mode = input.Length > 0 ? input[0] : (byte)0;
        var script = input.AsSpan(Math.Min(1, input.Length)).ToArray();
        if ((mode & 0x80) == 0) script = [.. FrameWriter.Preface, .. script];
        var transport = new ScriptedTransport(script, (mode & 0x7f) == 0 ? int.MaxValue : mode & 0x7f);
        var tunnel = HboneServerConnection.Start(transport, new HboneOptions { MaxConcurrentStreams = 20 }, clock: new FakeTimeProvider());
        var serving = ServeAsync(tunnel);
        TunnelPromises.Check(tunnel, transport, script.Length, prefaceBytes: 0);
        TunnelPromises.Finish(serving, "requests end with their tunnel");
        if (serving.Exception is { } broken) throw broken;
    }

    private static async Task ServeAsync(HboneServerConnection tunnel)
    {
        await foreach (var request in tunnel.RequestsAsync(CancellationToken.None))
        {
            if (request.Problem is not null) request.Reject(400);
            else if (request.Authority!.Port % 2 == 0) request.Reject(503);
            else await EchoAsync(request.Accept(new HeaderField("baggage", "a=b")));
        }
    }

    private static async Task EchoAsync(HboneStream stream)
    {
        await using var echoed = stream;
        try
        {
            var buffer = new byte[256];
            for (var rounds = 0; rounds < 4 && await stream.ReadAsync(buffer, CancellationToken.None) is > 0 and var count; rounds++) await stream.WriteAsync(buffer.AsMemory(0, count), CancellationToken.None);
            await stream.ShutdownWriteAsync(CancellationToken.None);
        }
        catch (IOException)
        {
            // The peer reset it, or the tunnel ended.
        }
    }
}

/// <summary>Our HBONE client: any bytes a server may say.</summary>
public sealed class Http2ClientTarget : FuzzTarget
{
    public override string Name => "http2-client";
    public override string Purpose => "a whole HBONE client connection with two CONNECTs open: every CONNECT gets an outcome, the tunnel ends with its peer";
    public override int MaxBytes => 8192;

    private static byte[] Answer(int stream, string status, int flags = 4) => FrameBytes.Of(FrameType.Headers, flags, stream, FrameBytes.Block(new HeaderField(":status", status)));

    public override IEnumerable<byte[]> Seeds() =>
    [
        SeedBytes.Of(0, [.. FrameBytes.Samples.First(), .. Answer(1, "200"), .. FrameBytes.Of(FrameType.Data, 1, 1, [1, 2]), .. Answer(3, "503", 5)]),
        .. FrameBytes.Samples.Skip(1).Select(f => SeedBytes.Of(0, [.. FrameBytes.Samples.First(), .. Answer(1, "200"), .. f])),
        SeedBytes.Of(1, [.. FrameBytes.Samples.First(), .. Answer(1, "100"), .. Answer(1, "401", 5)]),
    ];

    public override IEnumerable<byte[]> Words() => [.. FrameBytes.Samples, Answer(1, "200"), Answer(3, "200"), Answer(1, "100"), Answer(1, "401", 5)];

    public override void Run(byte[] input)
    {
        var mode = input.Length > 0 ? input[0] : (byte)0;
        var script = input.AsSpan(Math.Min(1, input.Length)).ToArray();
        // The client must have asked before the answers come: its SETTINGS are not awaited here, so the first stream goes out at once.
        var gate = new TaskCompletionSource();
        var transport = new ScriptedTransport(script, (mode & 0x7f) == 0 ? int.MaxValue : mode & 0x7f);
        var tunnel = HboneClientConnection.Start(new GatedTransport(transport, gate.Task), new HboneOptions(), clock: new FakeTimeProvider());
        var first = UseAsync(tunnel);
        var second = UseAsync(tunnel);
        gate.SetResult();
        TunnelPromises.Check(tunnel, transport, script.Length, FrameWriter.Preface.Length);
        TunnelPromises.Finish(Task.WhenAll(first, second), "every CONNECT gets an outcome");
        if ((first.Exception ?? second.Exception) is { } broken) throw broken;
    }

    private static async Task UseAsync(HboneClientConnection tunnel)
    {
        var outcome = await tunnel.ConnectAsync(HboneAuthority.Of("10.0.0.1", 80), [], CancellationToken.None);
        if (outcome is not ConnectOutcome.Established { Stream: var stream }) return;
        await using var used = stream;
        try
        {
            await stream.WriteAsync(new byte[10], CancellationToken.None);
            var buffer = new byte[256];
            while (await stream.ReadAsync(buffer, CancellationToken.None) > 0) { }
        }
        catch (IOException)
        {
            // Reset by the peer, or lost with the tunnel.
        }
    }

    /// <summary>A transport whose peer says nothing until the gate opens.</summary>
    private sealed class GatedTransport(ITransport inner, Task gate) : ITransport
    {
        public async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            await gate;
            return await inner.ReadAsync(buffer, cancellationToken);
        }

        public ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => inner.WriteAsync(buffer, cancellationToken);
        public ValueTask ShutdownWriteAsync(CancellationToken cancellationToken = default) => inner.ShutdownWriteAsync(cancellationToken);
        public void Abort(AbortReason reason = AbortReason.Cancelled) => inner.Abort(reason);
        public ValueTask DisposeAsync() => inner.DisposeAsync();
    }
}

/// <summary>Cutting bytes into frames must not depend on how the bytes arrive.</summary>
public sealed class Http2FramesTarget : FuzzTarget
{
    private const int MaxFrame = 20_000;

    public override string Name => "http2-frames";
    public override string Purpose => "the frame reader: the same events and the same error however the bytes are cut into pieces";
    public override int MaxBytes => 4096;

    public override IEnumerable<byte[]> Seeds() => [SeedBytes.Of(1, [.. FrameBytes.Samples.SelectMany(f => f)]), .. FrameBytes.Samples.Select(f => SeedBytes.Of(3, [.. FrameBytes.Samples.First(), .. f]))];
    public override IEnumerable<byte[]> Words() => FrameBytes.Samples;

    public override void Run(byte[] input)
    {
        if (input.Length == 0) return;
        var frames = input.AsSpan(1);
        Demand.SameSequence(Events(frames, int.MaxValue), Events(frames, input[0] % 32 + 1), "frames cut differently");
    }

    private static List<string> Events(ReadOnlySpan<byte> input, int piece)
    {
        var recorder = new Recorder();
        var reader = new FrameReader(recorder, MaxFrame, 16 * 1024);
        var block = Block.Rent(Block.Medium);
        try
        {
            var end = 0;
            while (!input.IsEmpty)
            {
                var count = Math.Min(piece, Math.Min(input.Length, block.Array.Length - end));
                input[..count].CopyTo(block.Array.AsSpan(end));
                input = input[count..];
                end += count;
                var start = reader.Consume(block, 0, end);
                block.Array.AsSpan(start, end - start).CopyTo(block.Array);
                end -= start;
                Demand.That(end < FrameHeader.Size, "less than a frame header is left over");
            }
        }
        catch (ConnectionErrorException e)
        {
            recorder.Add($"error {e.Code} {e.Message}");
        }
        finally
        {
            reader.Release();
            block.Release();
        }
        return recorder.Events;
    }

    private sealed class Recorder : IFrameHandler
    {
        private int _data;

        public List<string> Events { get; } = [];

        public void Add(string what)
        {
            if (_data > 0) Events.Add($"{_data} bytes");
            _data = 0;
            Events.Add(what);
        }

        public void OnData(int streamId, int flowBytes, int payloadBytes, bool endStream) => Add($"data {streamId} {flowBytes} {payloadBytes} {endStream}");
        public void OnDataBytes(Block block, int offset, int count) => _data += count;
        public void OnDataEnd() => Add("end of data");
        public void OnHeaders(int streamId, ReadOnlySpan<byte> block, bool endStream) => Add($"headers {streamId} {Convert.ToHexString(block)} {endStream}");
        public void OnPriority(int streamId) => Add($"priority {streamId}");
        public void OnReset(int streamId, ErrorCode code) => Add($"reset {streamId} {code}");
        public void OnSettings(ReadOnlySpan<byte> payload) => Add($"settings {Convert.ToHexString(payload)}");
        public void OnSettingsAck() => Add("settings ack");
        public void OnPing(ulong payload, bool ack) => Add($"ping {payload} {ack}");
        public void OnGoAway(int lastStreamId, ErrorCode code, string debug) => Add($"goaway {lastStreamId} {code} {debug}");
        public void OnWindowUpdate(int streamId, int increment) => Add($"window {streamId} {increment}");
        public void OnHeaderBlockOpen(bool open) { }   // timing only
        public void OnUnknown() => Add("unknown");
    }
}

/// <summary>Header compression with its memory across blocks.</summary>
public sealed class HpackTarget : FuzzTarget
{
    private const int MaxListBytes = 16 * 1024, MaxFields = 128;

    public override string Name => "hpack";
    public override string Purpose => "header blocks, one after the other on one connection: limits hold, what was decoded survives being encoded again";

    public override IEnumerable<byte[]> Seeds() =>
    [
        Blocks(FrameBytes.Block(new(":method", "CONNECT"), new(":authority", "10.0.0.1:80"), new("x", "y"))),
        Blocks([0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff], [0x82, 0xbe, 0x3f, 0xe1, 0x1f]),
        Blocks([0x20, 0x3f, 0xe1, 0x1f, 0x40, 1, 97, 1, 98], [0xbe, 0xbe, 0xbe]),
        Blocks([0x0f, 0x2f, 3, 97, 98, 99, 0x1f, 0x2f, 3, 97, 98, 99]),
    ];

    public override void Run(byte[] input)
    {
        var rest = new InputBytes(input);
        var decoder = new HpackDecoder(MaxListBytes, MaxFields);
        var encoder = new HpackEncoder();
        var again = new HpackDecoder(1 << 20, 1000);
        while (!rest.IsEmpty)
        {
            var fields = new List<HeaderField>();
            var verdict = decoder.Decode(rest.Take(rest.Short()), fields);
            Demand.That(fields.Count <= MaxFields && fields.Sum(f => (long)f.Size) <= MaxListBytes, "limits of the decoded list");
            if (verdict == HpackVerdict.Malformed) return;
            var output = new OutputBuffer(256);
            encoder.Encode([.. fields], output);
            var back = new List<HeaderField>();
            Demand.Equal(HpackVerdict.Ok, again.Decode(output.Written.Span, back), "what we encoded");
            output.Release();
            Demand.SameSequence(fields, back, "fields encoded and decoded");
        }
    }

    private static byte[] Blocks(params byte[][] blocks) => [.. blocks.SelectMany(b => (byte[])[(byte)(b.Length >> 8), (byte)b.Length, .. b])];
}
