using System.Net.Sockets;
using AmbientMesh.Linux;
using AmbientMesh.Telemetry;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.InPod.Handover;

/// <summary>The proxy of this node that was there before us, asked for the listening sockets of each pod we begin to serve. Without one, or without an answer,
/// sockets are opened anew beside its own (SO_REUSEPORT). One caller at a time.</summary>
public sealed class Predecessor(SeqPacketConnection? connection, TimeProvider clock, ILogger log) : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);
    private SeqPacketConnection? _connection = connection;

    /// <summary>Finds the proxy that listens on <paramref name="path"/>; finding none is no failure.</summary>
    public static async Task<Predecessor> FindAsync(string path, TimeProvider clock, ILogger log, CancellationToken cancellationToken)
    {
        try
        {
            var connection = await SeqPacketConnection.ConnectAsync(path, cancellationToken);
            if (!connection.IsOfSameUser)
            {
                connection.Dispose();
                log.Write(LogLevel.Warning, "a process of another user listens where an earlier ztunnel would; nothing is taken over", new KeyValuePair<string, object?>("path", path));
                return new Predecessor(null, clock, log);
            }
            log.Write(LogLevel.Information, "another ztunnel serves this node; its listening sockets are taken over", new KeyValuePair<string, object?>("path", path));
            return new Predecessor(connection, clock, log);
        }
        catch (Exception e) when (e is SocketException or IOException or ArgumentOutOfRangeException)
        {
            return new Predecessor(null, clock, log);
        }
    }

    /// <summary>What it listens on in the pod; nothing when it does not serve the pod or has gone.</summary>
    public async Task<InheritedSockets> TakeAsync(NamespaceId pod, CancellationToken cancellationToken)
    {
        if (_connection is not { } open) return InheritedSockets.None;
        using var limit = new CancellationTokenSource(Patience, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            await open.SendAsync(HandoverMessages.Question(pod), descriptor: null, either.Token);
            using var packet = await open.ReceiveAsync(HandoverMessages.MaxBytes, either.Token);
            if (packet.IsEnd) Forget("it has ended");
            else if (HandoverMessages.ReadAnswer(packet.Bytes.Span) is { } names && names.Length == packet.Descriptors.Length && !packet.IsTruncated) return Named(names, packet);
            else Forget("its answer is not understood");
        }
        catch (Exception e) when (e is IOException or OperationCanceledException && !cancellationToken.IsCancellationRequested)
        {
            Forget(e is IOException ? e.Message : $"it did not answer within {Patience.TotalSeconds} s");
        }
        return InheritedSockets.None;
    }

    public void Dispose() => _connection?.Dispose();

    private static InheritedSockets Named(string[] names, Packet packet)
    {
        var sockets = new InheritedSockets();
        for (var i = 0; i < names.Length; i++) sockets.Add(names[i], packet.Descriptors[i]);
        return sockets;
    }

    private void Forget(string why)
    {
        log.Write(LogLevel.Information, $"the earlier ztunnel is not asked for sockets any more: {why}");
        _connection?.Dispose();
        _connection = null;
    }
}
