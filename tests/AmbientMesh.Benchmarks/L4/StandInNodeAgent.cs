using AmbientMesh.Linux;
using AmbientMesh.Protocol.Zds;
using Google.Protobuf;

namespace AmbientMesh.Benchmarks.L4;

/// <summary>The node agent's end of ZDS for one pod: hands its namespace to the proxy that connects.</summary>
internal sealed class StandInNodeAgent(string path, string pod, NetworkNamespace space) : IDisposable
{
    private const int MaxBytes = 1024;
    private readonly SeqPacketListener _listener = SeqPacketListener.Bind(path);
    private SeqPacketConnection? _proxy;

    /// <summary>Returns when the proxy has taken the pod.</summary>
    /// <exception cref="IOException">It refused.</exception>
    public async Task HandOverAsync(CancellationToken cancellationToken)
    {
        _proxy = await _listener.AcceptAsync(cancellationToken);
        using var hello = await _proxy.ReceiveAsync(MaxBytes, cancellationToken);
        var add = new AddWorkload { Uid = $"bench-{pod}", WorkloadInfo = new WorkloadInfo { Name = pod, Namespace = "bench", ServiceAccount = pod } };
        await AskAsync(new WorkloadRequest { Add = add }, space, cancellationToken);
        await AskAsync(new WorkloadRequest { SnapshotSent = new SnapshotSent() }, null, cancellationToken);
    }

    public void Dispose()
    {
        _proxy?.Dispose();
        _listener.Dispose();
    }

    private async Task AskAsync(WorkloadRequest request, NetworkNamespace? with, CancellationToken cancellationToken)
    {
        await _proxy!.SendAsync(request.ToByteArray(), with?.Handle, cancellationToken);
        using var packet = await _proxy.ReceiveAsync(MaxBytes, cancellationToken);
        var answer = WorkloadResponse.Parser.ParseFrom(packet.Bytes.Span);
        if (answer.Ack.Error.Length > 0) throw new IOException($"The proxy refused the pod {pod}: {answer.Ack.Error}");
    }
}
