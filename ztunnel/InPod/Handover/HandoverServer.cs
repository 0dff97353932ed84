using System.Net.Sockets;
using System.Runtime.InteropServices;
using AmbientMesh.Linux;
using AmbientMesh.Telemetry;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.InPod.Handover;

/// <summary>Gives the listening sockets of our pods to the proxy that comes after us, so that our end loses none of the connections waiting in them.</summary>
/// <param name="listening">What is listened on in a pod now; empty when it is not served.</param>
public sealed class HandoverServer(string path, Func<NamespaceId, IReadOnlyList<(string Name, SafeHandle Socket)>> listening, TimeProvider clock, ILogger log)
{
    private static readonly TimeSpan RestAfterFailure = TimeSpan.FromSeconds(1);

    /// <summary>Answers until cancelled. The newest proxy has the path: a later one takes it over. Without the folder nobody can ask, which is told once.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        // Bound under a name of its own and then moved: the path always leads to a live proxy.
        var own = $"{path}.{Guid.NewGuid():N}"[..Math.Min(path.Length + 9, 107)];
        SeqPacketListener? listener = null;
        try
        {
            listener = SeqPacketListener.Bind(own);
            File.Move(own, path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or SocketException)
        {
            listener?.Dispose();
            log.Write(LogLevel.Warning, $"a later ztunnel cannot take over the listening sockets of this one: {e.Message}");
            return;
        }
        using (listener) await AcceptAsync(listener.AcceptAsync, cancellationToken);
    }

    /// <summary>Answers everyone who is accepted, until cancelled. A failure to accept, as without descriptors, is told once in a row; after a rest it is tried again.</summary>
    internal async Task AcceptAsync(Func<CancellationToken, ValueTask<SeqPacketConnection>> accept, CancellationToken cancellationToken)
    {
        var isFailing = false;
        try
        {
            while (true)
            {
                try
                {
                    _ = AnswerAsync(await accept(cancellationToken), cancellationToken);
                    isFailing = false;
                }
                catch (SocketException e) when (!cancellationToken.IsCancellationRequested)
                {
                    if (!isFailing) log.Write(LogLevel.Warning, $"a later ztunnel cannot take over the listening sockets of this one for now: {e.Message}");
                    isFailing = true;
                    await Task.Delay(RestAfterFailure, clock, cancellationToken);
                }
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException)
        {
            // Cancelled.
        }
    }

    private async Task AnswerAsync(SeqPacketConnection successor, CancellationToken cancellationToken)
    {
        using var _ = successor;
        if (!successor.IsOfSameUser)
        {
            log.Write(LogLevel.Warning, "a process of another user asked for the listening sockets of this ztunnel and is not answered");
            return;
        }
        try
        {
            while (true)
            {
                using var packet = await successor.ReceiveAsync(HandoverMessages.MaxBytes, cancellationToken);
                if (packet.IsEnd || HandoverMessages.ReadQuestion(packet.Bytes.Span) is not { } pod) return;
                var sockets = listening(pod);
                await successor.SendManyAsync(HandoverMessages.Answer(sockets.Select(s => s.Name)), [.. sockets.Select(s => s.Socket)], cancellationToken);
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            log.Write(LogLevel.Debug, $"a later ztunnel is not answered any more: {e.Message}");
        }
    }
}
