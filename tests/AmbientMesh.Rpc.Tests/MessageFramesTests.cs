using System.Buffers;
using System.IO.Pipelines;
using AmbientMesh.Protocol.Discovery;
using FsCheck;
using FsCheck.Fluent;

namespace AmbientMesh.Rpc.Tests;

/// <summary>Framing under any cut and any bytes.</summary>
public sealed class MessageFramesTests
{
    [Fact]
    public void Messages_survive_any_cut() => Prop.ForAll<int[], int>((sizes, seed) =>
    {
        var sent = sizes.Select(size => new DeltaDiscoveryRequest { TypeUrl = new string('t', Math.Abs(size % 3000)) }).ToArray();
        var frames = new ArrayBufferWriter<byte>();
        foreach (var message in sent) MessageFrames.Write(frames, message);
        var (received, failure) = Read(Cut(frames.WrittenMemory, new System.Random(seed)), 4096);
        return failure is null && received.SequenceEqual(sent);
    }).QuickCheckThrowOnFailure();

    [Fact]
    public void Any_bytes_give_messages_or_a_status_and_nothing_else() => Prop.ForAll<byte[], int>((bytes, seed) =>
    {
        // Half of the cases begin like a frame, so that the parser is reached.
        byte[] body = seed % 2 == 0 ? bytes : [0, 0, 0, 0, (byte)Math.Min(bytes.Length, 255), .. bytes];
        var (_, failure) = Read(Cut(body, new System.Random(seed)), 4096);
        return failure is null or { Code: StatusCode.Internal or StatusCode.ResourceExhausted or StatusCode.Unimplemented };
    }).QuickCheckThrowOnFailure();

    [Fact]
    public async Task A_message_at_the_limit_passes_and_one_byte_more_does_not()
    {
        var message = new DeltaDiscoveryRequest { TypeUrl = new string('t', 100) };
        var frame = new ArrayBufferWriter<byte>();
        MessageFrames.Write(frame, message);
        Assert.Equal(message, await ReadOneAsync(frame.WrittenMemory, message.CalculateSize()));
        var failure = await Assert.ThrowsAsync<RpcException>(() => ReadOneAsync(frame.WrittenMemory, message.CalculateSize() - 1));
        Assert.Equal(StatusCode.ResourceExhausted, failure.Code);
    }

    private static (List<DeltaDiscoveryRequest> Received, RpcException? Failure) Read(ReadOnlySequence<byte> bytes, int max)
    {
        var reader = PipeReader.Create(bytes);
        List<DeltaDiscoveryRequest> received = [];
        try
        {
            while (true)
            {
                var read = MessageFrames.ReadAsync(reader, DeltaDiscoveryRequest.Parser, max, "request", CancellationToken.None).AsTask();   // completes at once: the sequence is there as a whole
                Assert.True(read.IsCompleted);
                if (read.GetAwaiter().GetResult() is not { } message) return (received, null);
                received.Add(message);
            }
        }
        catch (RpcException failure)
        {
            return (received, failure);
        }
    }

    private static async Task<DeltaDiscoveryRequest?> ReadOneAsync(ReadOnlyMemory<byte> bytes, int max) =>
        await MessageFrames.ReadAsync(PipeReader.Create(new ReadOnlySequence<byte>(bytes)), DeltaDiscoveryRequest.Parser, max, "request", Patience.Token);

    private static ReadOnlySequence<byte> Cut(ReadOnlyMemory<byte> bytes, System.Random random)
    {
        var first = new Segment(default, null);
        var last = first;
        while (!bytes.IsEmpty)
        {
            var take = Math.Min(bytes.Length, 1 + random.Next(random.Next(2) == 0 ? 3 : 500));
            last = new Segment(bytes[..take], last);
            bytes = bytes[take..];
        }
        return new ReadOnlySequence<byte>(first, 0, last, last.Memory.Length);
    }

    private sealed class Segment : ReadOnlySequenceSegment<byte>
    {
        public Segment(ReadOnlyMemory<byte> memory, Segment? before)
        {
            Memory = memory;
            if (before is null) return;
            RunningIndex = before.RunningIndex + before.Memory.Length;
            before.Next = this;
        }
    }
}
