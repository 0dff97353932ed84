using System.Net;
using AmbientMesh.Telemetry;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Connections;

/// <summary>Tells when the process has no file descriptors left, and when it has some again: in the log, as a metric, and by not being ready. Thread-safe.</summary>
/// <remarks>Open connections need no new descriptors and go on; new ones wait in the listeners' queues until there are some.</remarks>
public sealed class DescriptorShortage(Readiness readiness, MetricRegistry metrics, TimeProvider clock, ILogger log)
{
    /// <summary>Name of the readiness task.</summary>
    public const string ReadinessTask = "file descriptors";

    private static readonly TimeSpan Between = TimeSpan.FromSeconds(1);
    private readonly Counter _met = metrics.Counter("ambientmesh_descriptor_shortages", "Times that an accept failed because no file descriptors were left.");
    private readonly Lock _gate = new();
    private bool _isOn;

    /// <summary>An accept failed for want of descriptors.</summary>
    public void Met(IPEndPoint listener)
    {
        _met.Add();
        // What is remembered here and what readiness says change together: a shortage that begins as another ends is one of its own.
        lock (_gate)
        {
            if (_isOn) return;
            _isOn = true;
            readiness.Wait(ReadinessTask);
        }
        log.Write(LogLevel.Error, "no file descriptors are left: new connections wait, open ones go on; raise the limit of open files (process_max_fds) or have fewer connections on this node",
            new KeyValuePair<string, object?>("address", listener));
        _ = WatchAsync();
    }

    private async Task WatchAsync()
    {
        do await Task.Delay(Between, clock, CancellationToken.None); while (!IsOver());
        lock (_gate)
        {
            _isOn = false;
            readiness.Done(ReadinessTask);
        }
        log.Write(LogLevel.Information, "file descriptors are free again");
    }

    private static bool IsOver()
    {
        try
        {
            using var one = File.OpenHandle("/dev/null");
            return true;
        }
        catch (IOException)
        {
            return false;
        }
    }
}
