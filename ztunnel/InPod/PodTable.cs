using AmbientMesh.Linux;
using AmbientMesh.Model;
using AmbientMesh.Telemetry;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.InPod;

/// <summary>The proxy of one pod, running.</summary>
public interface IPodProxy
{
    /// <summary>Closes listeners and connections at once; returns when they are closed.</summary>
    Task StopAsync();
}

/// <summary>A pod as the agent described it.</summary>
public sealed record Pod(string Uid, WorkloadInfo Info, NetworkNamespace Namespace);

/// <summary>The agent broke the protocol; the process must end rather than guess which pods it serves.</summary>
public sealed class ZdsProtocolException(string message) : Exception(message);

/// <summary>Which pods are served (L4 reference §7.4). One caller at a time.</summary>
/// <param name="start">Opens a pod's listeners and takes its namespace over; an <see cref="IOException"/> or socket error says why it could not, and it is tried again.</param>
public sealed class PodTable(Func<Pod, Task<IPodProxy>> start, Readiness readiness, MetricRegistry metrics, ILogger log)
{
    /// <summary>Name of the readiness task.</summary>
    public const string ReadinessTask = "workload proxy manager";

    private readonly Dictionary<string, (Pod Pod, IPodProxy Proxy)> _running = [];
    private readonly Dictionary<string, Pod> _pending = [];
    private readonly HashSet<string> _snapshot = [];
    private readonly Gauge _active = metrics.Gauge("workload_manager_active_proxy_count", "The total number current workloads with active proxies (unstable).");
    private readonly Gauge _waiting = metrics.Gauge("workload_manager_pending_proxy_count", "The total number current workloads with pending proxies (unstable).");
    private readonly Counter _started = metrics.Counter("workload_manager_proxies_started", "The total number of proxies that were started (unstable).");
    private readonly Counter _stopped = metrics.Counter("workload_manager_proxies_stopped", "The total number of proxies that were stopped (unstable).");
    private readonly Lock _view = new();
    private bool _snapshotReceived;

    public bool HasPending => _pending.Count > 0;

    /// <summary>The pods served or waiting, for the configuration dump; any thread.</summary>
    public IReadOnlyList<(Pod Pod, IPodProxy? Proxy)> Pods
    {
        get
        {
            lock (_view) return [.. _running.Values.Select(r => (r.Pod, (IPodProxy?)r.Proxy)), .. _pending.Values.Select(p => (p, (IPodProxy?)null))];
        }
    }

    /// <summary>A connection begins: a new snapshot follows; what runs goes on running.</summary>
    public void BeginSnapshot()
    {
        _snapshotReceived = false;
        _snapshot.Clear();
        lock (_view)
        {
            foreach (var pod in _pending.Values) pod.Namespace.Dispose();
            _pending.Clear();
        }
        Publish();
    }

    /// <summary>The connection ended; the pods go on, the proxy is not ready.</summary>
    public void Disconnected()
    {
        _snapshotReceived = false;
        Publish();
    }

    /// <summary>Acts on a message; the result is the error of the acknowledgement, null for success.</summary>
    /// <exception cref="ZdsProtocolException">The agent broke the protocol.</exception>
    public async Task<string?> HandleAsync(ZdsMessage message)
    {
        try
        {
            return message switch
            {
                ZdsMessage.Add add => await AddAsync(add),
                ZdsMessage.Keep keep => Keep(keep.Uid),
                ZdsMessage.Delete delete => await DeleteAsync(delete.Uid),
                _ => await ReconcileAsync(),
            };
        }
        finally
        {
            Publish();
        }
    }

    /// <summary>Tries pods again whose start failed.</summary>
    public async Task RetryPendingAsync()
    {
        foreach (var pod in _pending.Values.ToArray())
        {
            var problem = await TryStartAsync(pod);
            if (problem is null) log.Write(LogLevel.Information, "pod started after an earlier failure", new KeyValuePair<string, object?>("uid", pod.Uid));
        }
        Publish();
    }

    /// <summary>Stops every pod at once.</summary>
    public async Task StopAllAsync()
    {
        foreach (var uid in _running.Keys.ToArray()) await StopAsync(uid);
        BeginSnapshot();
    }

    private async Task<string?> AddAsync(ZdsMessage.Add add)
    {
        Log("pod received, starting proxy", add.Uid, ("name", add.Info?.Name ?? ""), ("namespace", add.Info?.Namespace ?? ""));
        if (add.Info is not { } info)
        {
            add.Namespace.Dispose();
            throw new ZdsProtocolException("workload_info is required but not present");
        }
        if (!_snapshotReceived) _snapshot.Add(add.Uid);
        if (_running.TryGetValue(add.Uid, out var known))
        {
            if (known.Pod.Namespace.Id == add.Namespace.Id)
            {
                add.Namespace.Dispose();
                return null;
            }
            await StopAsync(add.Uid);
        }
        ForgetPending(add.Uid);
        return await TryStartAsync(new Pod(add.Uid, info, add.Namespace));
    }

    private string? Keep(string uid)
    {
        if (_snapshotReceived) throw new ZdsProtocolException("pod keep received after snapshot");
        Log("pod keep received. will not delete it when snapshot is sent", uid);
        _snapshot.Add(uid);
        return null;
    }

    private async Task<string?> DeleteAsync(string uid)
    {
        Log("pod delete request, shutting down proxy", uid);
        ForgetPending(uid);
        // Before the snapshot ends a running proxy only loses its claim; the reconciliation stops it.
        if (_snapshotReceived) await StopAsync(uid);
        else _snapshot.Remove(uid);
        return null;
    }

    private async Task<string?> ReconcileAsync()
    {
        if (_snapshotReceived) throw new ZdsProtocolException("pod snapshot received already");
        log.Write(LogLevel.Information, "received snapshot sent");
        foreach (var uid in _running.Keys.Where(uid => !_snapshot.Contains(uid)).ToArray()) await StopAsync(uid);
        _snapshotReceived = true;
        _snapshot.Clear();
        return null;
    }

    private async Task<string?> TryStartAsync(Pod pod)
    {
        try
        {
            var proxy = await start(pod);
            lock (_view)
            {
                _running[pod.Uid] = (pod, proxy);
                _pending.Remove(pod.Uid);
            }
            _started.Add();
            return null;
        }
        catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException)
        {
            lock (_view) _pending[pod.Uid] = pod;
            log.Write(LogLevel.Error, "failed to start proxy", new KeyValuePair<string, object?>("uid", pod.Uid), new KeyValuePair<string, object?>("error", e.Message));
            return $"failure to start proxy : {e.Message}";
        }
    }

    private async Task StopAsync(string uid)
    {
        if (!_running.TryGetValue(uid, out var running)) return;
        lock (_view) _running.Remove(uid);
        await running.Proxy.StopAsync();
        running.Pod.Namespace.Dispose();
        _stopped.Add();
    }

    private void ForgetPending(string uid)
    {
        lock (_view)
        {
            if (_pending.Remove(uid, out var pod)) pod.Namespace.Dispose();
        }
    }

    private void Publish()
    {
        _active.Set(_running.Count);
        _waiting.Set(_pending.Count);
        readiness.Set(ReadinessTask, !_snapshotReceived || _pending.Count > 0);
    }

    private void Log(string message, string uid, params ReadOnlySpan<(string Key, string Value)> more)
    {
        var fields = new KeyValuePair<string, object?>[more.Length + 1];
        fields[0] = new("uid", uid);
        for (var i = 0; i < more.Length; i++) fields[i + 1] = new(more[i].Key, more[i].Value);
        log.Write(LogLevel.Information, message, fields);
    }
}
