using System.Net;
using System.Net.Sockets;
using AmbientMesh.Linux;
using AmbientMesh.Telemetry;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Connections;

/// <summary>Stops accepting when the process has no file descriptors left but a reserve, until it has some again, and tells: in the log, as a metric, and by not being ready.
/// Thread-safe.</summary>
/// <remarks>Open connections need no new descriptors and go on; new ones wait in the listeners' queues. The reserve is for what cannot wait: the runtime ends a process in which
/// it cannot load a library, and connections already accepted still have to be made.</remarks>
public sealed class DescriptorShortage(Readiness readiness, MetricRegistry metrics, TimeProvider clock, ILogger log)
{
    /// <summary>Name of the readiness task.</summary>
    public const string ReadinessTask = "file descriptors";

    /// <summary>Descriptors that accepted connections may not have.</summary>
    public const int Reserve = 64;

    private const int Slack = 16;   // so that it does not begin again as soon as it ends
    private static readonly TimeSpan Between = TimeSpan.FromSeconds(1);
    private readonly Counter _met = metrics.Counter("ambientmesh_descriptor_shortages", "Times that an accept left no file descriptors but the reserve, or found none.");
    private readonly Lock _gate = new();
    private volatile TaskCompletionSource? _over;

    /// <summary>Completes when there are descriptors to accept with; at once when there is no shortage.</summary>
    /// <exception cref="OperationCanceledException">Cancelled first.</exception>
    public Task OverAsync(CancellationToken cancellationToken) => _over is { } over ? over.Task.WaitAsync(cancellationToken) : Task.CompletedTask;

    /// <summary>A connection was accepted; it may have been the last one for now.</summary>
    public void Accepted(Socket accepted, IPEndPoint listener)
    {
        if (DescriptorRoom.Above(accepted.SafeHandle) < Reserve) Met(listener);
    }

    /// <summary>An accept failed for want of descriptors, or left only the reserve.</summary>
    public void Met(IPEndPoint listener)
    {
        _met.Add();
        // What is remembered here and what readiness says change together: a shortage that begins as another ends is one of its own.
        lock (_gate)
        {
            if (_over is not null) return;
            _over = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            readiness.Wait(ReadinessTask);
        }
        log.Write(LogLevel.Error, "no file descriptors are left but a reserve: new connections wait, open ones go on; raise the limit of open files (process_max_fds) or have fewer connections on this node",
            new KeyValuePair<string, object?>("address", listener));
        _ = WatchAsync();
    }

    private async Task WatchAsync()
    {
        do await Task.Delay(Between, clock, CancellationToken.None); while (!IsOver());
        TaskCompletionSource over;
        lock (_gate)
        {
            over = _over!;
            _over = null;
            readiness.Done(ReadinessTask);
        }
        log.Write(LogLevel.Information, "file descriptors are free again");
        over.TrySetResult();
    }

    private static bool IsOver()
    {
        try
        {
            using var one = File.OpenHandle("/dev/null");
            return DescriptorRoom.Above(one) >= Reserve + Slack;
        }
        catch (IOException)
        {
            return false;
        }
    }
}
