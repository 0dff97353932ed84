using System.Net.Sockets;
using AmbientMesh.Linux;
using AmbientMesh.Telemetry;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.InPod;

/// <summary>The proxy's end of ZDS: connects to the node agent, says hello, answers each message once, connects again when it is lost (L4 reference §7).</summary>
public sealed class ZdsClient(string path, PodTable pods, TimeProvider clock, ILogger log)
{
    private static readonly TimeSpan RetryPendingAfter = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan FirstBackoff = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan LastBackoff = TimeSpan.FromSeconds(15);

    /// <summary>Runs until cancelled.</summary>
    /// <exception cref="ZdsProtocolException">The agent broke the protocol; it has been told.</exception>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var backoff = FirstBackoff;
        while (!cancellationToken.IsCancellationRequested)
        {
            try
            {
                using var connection = await SeqPacketConnection.ConnectAsync(path, cancellationToken);
                backoff = FirstBackoff;
                log.Write(LogLevel.Information, "handling new stream");
                await ServeAsync(connection, cancellationToken);
                log.Write(LogLevel.Information, "process stream ended with eof");
            }
            catch (ZdsReadException e)
            {
                log.Write(LogLevel.Warning, $"process stream ended: {e.Message}");
            }
            catch (Exception e) when (e is SocketException or IOException)
            {
                log.Write(LogLevel.Warning, $"failed to connect to the Istio CNI node agent over {path}, is the node agent running? {e.Message}");
            }
            catch (OperationCanceledException)
            {
                return;
            }
            finally
            {
                pods.Disconnected();
            }
            if (!await WaitAsync(backoff, cancellationToken)) return;
            backoff = backoff * 2 < LastBackoff ? backoff * 2 : LastBackoff;
        }
    }

    private async Task ServeAsync(SeqPacketConnection connection, CancellationToken cancellationToken)
    {
        await connection.SendAsync(ZdsMessages.Hello, null, cancellationToken);
        pods.BeginSnapshot();
        while (await ReceiveAsync(connection, cancellationToken) is { } packet)
        {
            string? error;
            try
            {
                error = await pods.HandleAsync(ZdsMessages.Read(packet));
            }
            catch (ZdsReadException e)
            {
                log.Write(LogLevel.Error, $"failed to read message: {e.Message}");
                await connection.SendAsync(ZdsMessages.Acknowledgement($"failure to read message : {e.Message}"), null, cancellationToken);
                throw;
            }
            catch (ZdsProtocolException e)
            {
                log.Write(LogLevel.Error, $"failed to process message: {e.Message}");
                await connection.SendAsync(ZdsMessages.Acknowledgement($"failure to process message : ProtocolError(\"{e.Message}\")"), null, cancellationToken);
                log.Write(LogLevel.Error, "protocol mismatch error while processing stream, shutting down");
                throw;
            }
            await connection.SendAsync(ZdsMessages.Acknowledgement(error), null, cancellationToken);
        }
    }

    /// <summary>The next packet, trying pending pods again in the meantime; null when the agent closed.</summary>
    private async Task<Packet?> ReceiveAsync(SeqPacketConnection connection, CancellationToken cancellationToken)
    {
        var receiving = connection.ReceiveAsync(ZdsMessages.MaxBytes, cancellationToken).AsTask();
        while (pods.HasPending && !receiving.IsCompleted)
        {
            using var waiting = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            var first = await Task.WhenAny(receiving, Task.Delay(RetryPendingAfter, clock, waiting.Token));
            await waiting.CancelAsync();
            if (first != receiving && !cancellationToken.IsCancellationRequested) await pods.RetryPendingAsync();
        }
        var packet = await receiving;
        return packet.IsEnd ? null : packet;
    }

    private async Task<bool> WaitAsync(TimeSpan time, CancellationToken cancellationToken)
    {
        try
        {
            await Task.Delay(time, clock, cancellationToken);
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }
}
