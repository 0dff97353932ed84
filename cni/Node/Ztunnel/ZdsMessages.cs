using System.Diagnostics.CodeAnalysis;
using AmbientMesh.Protocol;
using AmbientMesh.Protocol.Zds;
using Google.Protobuf;

namespace AmbientMesh.Cni.Node.Ztunnel;

/// <summary>The messages of ZDS as bytes of one packet each. Source: reference 7.1 and 7.2.</summary>
public static class ZdsMessages
{
    /// <summary>No packet is longer, in either direction.</summary>
    public const int MaxBytes = 1024;

    /// <summary>A pod with its network namespace, which travels beside the message.</summary>
    /// <exception cref="ArgumentException">The names are so long that the message does not fit.</exception>
    public static byte[] Add(string uid, string name, string ns, string serviceAccount) => Encode(new WorkloadRequest
    {
        Add = new AddWorkload { Uid = uid, WorkloadInfo = new WorkloadInfo { Name = name, Namespace = ns, ServiceAccount = serviceAccount } },
    });

    /// <summary>An enrolled pod whose namespace is not at hand; only before the end of the snapshot.</summary>
    public static byte[] Keep(string uid) => Encode(new WorkloadRequest { Keep = new KeepWorkload { Uid = uid } });

    public static byte[] Delete(string uid) => Encode(new WorkloadRequest { Del = new DelWorkload { Uid = uid } });

    public static byte[] SnapshotSent() => Encode(new WorkloadRequest { SnapshotSent = new SnapshotSent() });

    /// <summary>ztunnel's first packet.</summary>
    public static bool TryReadHello(ReadOnlySpan<byte> packet, out Protocol.Zds.Version version, [NotNullWhen(false)] out string? problem)
    {
        version = default;
        problem = TryParse(ZdsHello.Parser, packet, out var hello);
        if (hello is not null) version = hello.Version;
        return problem is null;
    }

    /// <summary>ztunnel's answer to a request; <paramref name="refusal"/> is its reason for saying no, empty for yes.</summary>
    public static bool TryReadAck(ReadOnlySpan<byte> packet, [NotNullWhen(true)] out string? refusal, [NotNullWhen(false)] out string? problem)
    {
        problem = TryParse(WorkloadResponse.Parser, packet, out var response);
        refusal = response?.Ack?.Error;
        if (problem is null && refusal is null) problem = "the answer has no acknowledgement";
        return problem is null;
    }

    private static string? TryParse<T>(MessageParser<T> parser, ReadOnlySpan<byte> packet, out T? message) where T : class, IMessage<T> =>
        ForeignMessage.TryParse(parser, packet, out message, out var problem) ? null : $"the message cannot be decoded: {problem}";

    private static byte[] Encode(WorkloadRequest request)
    {
        var bytes = request.ToByteArray();
        return bytes.Length <= MaxBytes ? bytes : throw new ArgumentException($"a ZDS message of {bytes.Length} bytes; at most {MaxBytes} fit into a packet");
    }
}
