using AmbientMesh.Linux;
using AmbientMesh.Protocol.Zds;
using Google.Protobuf;

namespace AmbientMesh.Cni.Tests.Ztunnel;

/// <summary>The other end of the ZDS socket: receives requests and answers them as the test says.</summary>
internal sealed class FakeZtunnel : IDisposable
{
    private readonly SeqPacketConnection _packets;
    private Task<(byte[] Bytes, WorkloadRequest Request, NetworkNamespace? Namespace)>? _begun;

    private FakeZtunnel(SeqPacketConnection packets) => _packets = packets;

    public static readonly byte[] Hello = [8, 1];
    public static readonly byte[] Yes = [0x0a, 0x00];

    public static async Task<FakeZtunnel> ConnectAsync(string path, byte[]? hello = null)
    {
        var packets = await SeqPacketConnection.ConnectAsync(path, Patience.Token);
        await packets.SendAsync(hello ?? Hello, null, Patience.Token);
        return new FakeZtunnel(packets);
    }

    /// <summary>A reception that was begun and not waited for; the next one is it.</summary>
    public void Resume(Task<(byte[] Bytes, WorkloadRequest Request, NetworkNamespace? Namespace)> begun) => _begun = begun;

    /// <summary>The next request; the caller owns its descriptor.</summary>
    public Task<(byte[] Bytes, WorkloadRequest Request, NetworkNamespace? Namespace)> ReceiveAsync()
    {
        var receiving = _begun ?? ReceiveOneAsync();
        _begun = null;
        return receiving;
    }

    private async Task<(byte[] Bytes, WorkloadRequest Request, NetworkNamespace? Namespace)> ReceiveOneAsync()
    {
        var packet = await _packets.ReceiveAsync(1024, Patience.Token);
        Assert.False(packet.IsEnd, "the agent closed the connection");
        Assert.False(packet.IsTruncated);
        Assert.True(packet.Descriptors.Length <= 1);
        var inside = packet.Descriptors.Length == 1 ? NetworkNamespace.FromHandle(packet.Descriptors[0]) : null;
        return (packet.Bytes.ToArray(), WorkloadRequest.Parser.ParseFrom(packet.Bytes.Span), inside);
    }

    /// <summary>Receives one request of the expected kind and says yes.</summary>
    public async Task<WorkloadRequest> TakeAsync(WorkloadRequest.PayloadOneofCase kind)
    {
        var (_, request, inside) = await ReceiveAsync();
        inside?.Dispose();
        Assert.Equal(kind, request.PayloadCase);
        Assert.Equal(kind == WorkloadRequest.PayloadOneofCase.Add, inside is not null);
        await AnswerAsync(Yes);
        return request;
    }

    /// <summary>Takes a snapshot of so many pods; the uids it had.</summary>
    public async Task<string[]> TakeSnapshotAsync(int pods = 0)
    {
        var uids = new List<string>();
        for (var i = 0; i < pods; i++) uids.Add((await TakeAsync(WorkloadRequest.PayloadOneofCase.Add)).Add.Uid);
        await TakeAsync(WorkloadRequest.PayloadOneofCase.SnapshotSent);
        return [.. uids.Order()];
    }

    public ValueTask AnswerAsync(byte[] answer) => _packets.SendAsync(answer, null, Patience.Token);

    public ValueTask RefuseAsync(string reason) => AnswerAsync(new WorkloadResponse { Ack = new Ack { Error = reason } }.ToByteArray());

    /// <summary>Completes when the agent has closed the connection.</summary>
    public async Task<bool> IsClosedAsync()
    {
        using var packet = await _packets.ReceiveAsync(1024, Patience.Token);
        return packet.IsEnd;
    }

    public void Dispose() => _packets.Dispose();
}
