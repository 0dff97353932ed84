using AmbientMesh.Linux;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Cni.Node.Ztunnel;

/// <summary>Hands pods to the ztunnels that connect: a snapshot first, then each change. Source: reference 7.3. Thread-safe.</summary>
/// <remarks>Adds go to the newest ztunnel, deletes to all; when the newest leaves, the one before is the newest again.</remarks>
public sealed class ZdsServer(EnrolledPods pods, TimeProvider clock, ILogger log)
{
    private static readonly TimeSpan s_betweenAccepts = TimeSpan.FromMilliseconds(200);   // 5 a second

    private readonly Lock _gate = new();
    private readonly List<ZdsConnection> _connections = [];
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _accepted;

    /// <summary>ztunnels connected now.</summary>
    public int Connected
    {
        get { lock (_gate) return _connections.Count; }
    }

    /// <summary>Completes at the next arrival (snapshot through) or departure of a ztunnel.</summary>
    public Task Changed
    {
        get { lock (_gate) return _changed.Task; }
    }

    /// <summary>Whether the newest ztunnel has said yes to the pod.</summary>
    public bool Serves(string uid) => Newest()?.Serves(uid) == true;

    /// <summary>Accepts ztunnels on <paramref name="listener"/> until cancelled; then closes them.</summary>
    public async Task RunAsync(SeqPacketListener listener, CancellationToken cancellationToken)
    {
        var serving = new List<Task>();
        try
        {
            while (true)
            {
                var packets = await listener.AcceptAsync(cancellationToken);
                var connection = new ZdsConnection(++_accepted, packets, clock);
                lock (_gate) _connections.Add(connection);
                serving.RemoveAll(task => task.IsCompleted);
                serving.Add(ServeAsync(connection, cancellationToken));
                await Task.Delay(s_betweenAccepts, clock, cancellationToken);
            }
        }
        catch (OperationCanceledException)
        {
            // The agent ends; ztunnel keeps its pods and asks again later.
        }
        finally
        {
            await Task.WhenAll(serving);
        }
    }

    /// <summary>Hands a pod to the newest ztunnel and waits for its yes.</summary>
    /// <exception cref="ZdsException">No ztunnel is connected, or it refused, or is gone.</exception>
    public async Task AddAsync(EnrolledPod pod, CancellationToken cancellationToken)
    {
        if (Newest() is not { } newest) throw new ZdsException("no ztunnel connection", isRefusal: false);
        await newest.AddAsync(pod, cancellationToken);
    }

    /// <summary>Tells every ztunnel to let go of a pod. One that is gone needs no telling: it gets a snapshot when it is back.</summary>
    /// <exception cref="ZdsException">A connected ztunnel refused or did not answer; the others have been told.</exception>
    public async Task DeleteAsync(string uid, CancellationToken cancellationToken)
    {
        ZdsException? failure = null;
        foreach (var connection in Connections())
        {
            try
            {
                await connection.DeleteAsync(uid, cancellationToken);
            }
            catch (ZdsException e)
            {
                if (connection.Closed.IsCompleted) continue;
                failure = e;
            }
        }
        if (failure is not null) throw failure;
    }

    private async Task ServeAsync(ZdsConnection connection, CancellationToken cancellationToken)
    {
        try
        {
            var version = await connection.OpenAsync(session => SnapshotAsync(connection, session, cancellationToken), cancellationToken);
            log.LogInformation("ztunnel {Number} connected (ZDS {Version}), {Pods} pods handed over", connection.Number, version, pods.All.Count);
            SignalChange();
            var reason = await connection.Closed.WaitAsync(cancellationToken);
            log.LogWarning("ztunnel {Number} disconnected: {Reason}", connection.Number, reason);
        }
        catch (ZdsException e)
        {
            log.LogWarning("ztunnel {Number} cannot be served: {Reason}", connection.Number, e.Message);
        }
        catch (OperationCanceledException)
        {
            // The agent ends.
        }
        finally
        {
            connection.Dispose();
            lock (_gate) _connections.Remove(connection);
            SignalChange();
        }
    }

    // A pod that ztunnel refuses does not keep the others from it; it is found unserved by the next verification.
    private async Task SnapshotAsync(ZdsConnection connection, ZdsSession session, CancellationToken cancellationToken)
    {
        foreach (var pod in pods.All)
        {
            try
            {
                if (pod.Namespace is null) await session.KeepAsync(pod, cancellationToken);
                else await session.AddAsync(pod, cancellationToken);
            }
            catch (ZdsException e) when (!connection.Closed.IsCompleted)
            {
                log.LogError("ztunnel {Number} did not take {Pod} of the snapshot: {Reason}", connection.Number, pod, e.Message);
            }
        }
    }

    private ZdsConnection? Newest()
    {
        lock (_gate) return _connections.MaxBy(connection => connection.Number);
    }

    private ZdsConnection[] Connections()
    {
        lock (_gate) return [.. _connections];
    }

    private void SignalChange()
    {
        TaskCompletionSource changed;
        lock (_gate)
        {
            changed = _changed;
            _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        }
        changed.TrySetResult();
    }
}
