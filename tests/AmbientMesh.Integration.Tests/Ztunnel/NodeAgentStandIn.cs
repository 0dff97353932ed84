using AmbientMesh.Linux;
using AmbientMesh.Protocol.Zds;
using Google.Protobuf;
using Microsoft.Win32.SafeHandles;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>The agent's end of ZDS, one step at a time.</summary>
public sealed class NodeAgentStandIn : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("amz-zds-").FullName;
    private readonly SeqPacketListener _listener;
    private SeqPacketConnection? _connection;

    public NodeAgentStandIn() => _listener = SeqPacketListener.Bind(SocketPath);

    public string SocketPath => Path.Combine(_folder, "ztunnel.sock");

    /// <summary>Waits for the proxy and its hello.</summary>
    public async Task AcceptAsync()
    {
        _connection = await _listener.AcceptAsync(Patience.Token);
        using var hello = await _connection.ReceiveAsync(1024, Patience.Token);
        Assert.Equal("0801", Convert.ToHexString(hello.Bytes.Span));
    }

    public Task<string> AddAsync(string uid, PodNamespace pod, string? account = null) =>
        SendAsync(new WorkloadRequest { Add = new AddWorkload { Uid = uid, WorkloadInfo = new WorkloadInfo { Name = pod.Name, Namespace = "default", ServiceAccount = account ?? pod.Name } } }, pod.Namespace.Handle);

    public Task<string> DeleteAsync(string uid) => SendAsync(new WorkloadRequest { Del = new DelWorkload { Uid = uid } });
    public Task<string> KeepAsync(string uid) => SendAsync(new WorkloadRequest { Keep = new KeepWorkload { Uid = uid } });
    public Task<string> SnapshotSentAsync() => SendAsync(new WorkloadRequest { SnapshotSent = new SnapshotSent() });

    /// <summary>Sends a message and returns the error of its acknowledgement, empty for success.</summary>
    public async Task<string> SendAsync(WorkloadRequest request, SafeFileHandle? descriptor = null)
    {
        await _connection!.SendAsync(request.ToByteArray(), descriptor, Patience.Token);
        using var answer = await _connection.ReceiveAsync(1024, Patience.Token);
        Assert.False(answer.IsEnd, "the proxy closed instead of answering");
        return WorkloadResponse.Parser.ParseFrom(answer.Bytes.Span).Ack.Error;
    }

    /// <summary>Whether the proxy closes the connection without another word.</summary>
    public async Task<bool> IsClosedByPeerAsync()
    {
        using var packet = await _connection!.ReceiveAsync(1024, Patience.Token);
        return packet.IsEnd;
    }

    /// <summary>Goes away, as a restarted agent does; the socket stays.</summary>
    public void Disconnect() => _connection?.Dispose();

    public void Dispose()
    {
        _connection?.Dispose();
        _listener.Dispose();
        Directory.Delete(_folder, recursive: true);
    }
}
