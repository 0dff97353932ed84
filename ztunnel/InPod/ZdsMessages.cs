using AmbientMesh.Linux;
using AmbientMesh.Protocol;
using AmbientMesh.Protocol.Zds;
using Google.Protobuf;
using Microsoft.Win32.SafeHandles;

namespace AmbientMesh.Ztunnel.InPod;

/// <summary>What the node agent tells the proxy. Exactly one case holds.</summary>
public abstract record ZdsMessage
{
    private ZdsMessage() { }

    /// <summary>A pod to serve; <paramref name="Info"/> null when the agent left it out. <paramref name="Namespace"/> is owned by the receiver.</summary>
    public sealed record Add(string Uid, Model.WorkloadInfo? Info, NetworkNamespace Namespace) : ZdsMessage;

    /// <summary>A pod that is still there though its namespace was not found.</summary>
    public sealed record Keep(string Uid) : ZdsMessage;

    public sealed record Delete(string Uid) : ZdsMessage;

    public sealed record SnapshotSent : ZdsMessage;
}

/// <summary>A packet that is no message; the connection ends with it.</summary>
public sealed class ZdsReadException(string message) : Exception(message);

/// <summary>Reads and writes ZDS packets (L4 reference §7.1, §7.2): one protobuf message each, at most 1024 bytes, a descriptor with Add and only there.</summary>
public static class ZdsMessages
{
    public const int MaxBytes = 1024;

    public static byte[] Hello { get; } = new ZdsHello { Version = Protocol.Zds.Version.V1 }.ToByteArray();

    /// <summary>The acknowledgement; <paramref name="error"/> null means success (<c>0a 00</c>).</summary>
    public static byte[] Acknowledgement(string? error)
    {
        var bytes = new WorkloadResponse { Ack = new Ack { Error = error ?? "" } }.ToByteArray();
        // A long text is cut so that the packet stays within the limit.
        return bytes.Length <= MaxBytes ? bytes : new WorkloadResponse { Ack = new Ack { Error = error![..(MaxBytes / 4)] } }.ToByteArray();
    }

    /// <summary>Takes a packet; the descriptor of an Add moves into the message, any other is closed.</summary>
    /// <exception cref="ZdsReadException">The text is what the agent is told.</exception>
    public static ZdsMessage Read(Packet packet)
    {
        using (packet)
        {
            if (packet.IsTruncated) throw new ZdsReadException("message was truncated");
            var request = Parse(packet.Bytes);
            if (request.PayloadCase != WorkloadRequest.PayloadOneofCase.Add && packet.Descriptors.Length > 0) throw new ZdsReadException("Unexpected control message");
            return request.PayloadCase switch
            {
                WorkloadRequest.PayloadOneofCase.Add => ReadAdd(request.Add, packet),
                WorkloadRequest.PayloadOneofCase.Keep => new ZdsMessage.Keep(request.Keep.Uid),
                WorkloadRequest.PayloadOneofCase.Del => new ZdsMessage.Delete(request.Del.Uid),
                WorkloadRequest.PayloadOneofCase.SnapshotSent => new ZdsMessage.SnapshotSent(),
                _ => throw new ZdsReadException("no payload"),
            };
        }
    }

    private static WorkloadRequest Parse(ReadOnlyMemory<byte> bytes) =>
        ForeignMessage.TryParse(WorkloadRequest.Parser, bytes.Span, out var request, out var problem)
            ? request
            : throw new ZdsReadException($"failed to decode Protobuf message: {problem}");

    private static ZdsMessage.Add ReadAdd(AddWorkload add, Packet packet)
    {
        if (packet.Descriptors.Length == 0) throw new ZdsReadException("No control message");
        if (packet.Descriptors.Length > 1) throw new ZdsReadException("Too many descriptors");
        var info = add.WorkloadInfo is { } wire ? new Model.WorkloadInfo(wire.Name, wire.Namespace, wire.ServiceAccount) : (Model.WorkloadInfo?)null;
        return new ZdsMessage.Add(add.Uid, info, Adopt(packet.Descriptors[0]));
    }

    /// <summary>Takes a descriptor over from the packet, which closes what it still holds.</summary>
    private static NetworkNamespace Adopt(SafeFileHandle received)
    {
        var owned = new SafeFileHandle(received.DangerousGetHandle(), ownsHandle: true);
        received.SetHandleAsInvalid();
        try
        {
            return NetworkNamespace.FromHandle(owned);
        }
        catch (IOException e)
        {
            throw new ZdsReadException($"the descriptor is unusable: {e.Message}");
        }
    }
}
