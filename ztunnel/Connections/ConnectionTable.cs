using AmbientMesh.Model;
using AmbientMesh.Telemetry;

namespace AmbientMesh.Ztunnel.Connections;

/// <summary>The open connections of one pod. Thread-safe.</summary>
/// <param name="pod">Whose they are.</param>
/// <param name="newTrace">Gives each its place in a trace; null when no spans are recorded.</param>
public sealed class ConnectionTable(WorkloadInfo pod, Func<TraceContext>? newTrace = null)
{
    private readonly Lock _gate = new();
    private readonly HashSet<OpenConnection> _open = [];
    private CloseReason? _closed;
    private TaskCompletionSource? _empty;

    public WorkloadInfo Pod => pod;

    public IReadOnlyList<OpenConnection> Open
    {
        get { lock (_gate) return [.. _open]; }
    }

    /// <summary>A new connection; already closed when the table is.</summary>
    public OpenConnection Begin()
    {
        var connection = new OpenConnection(this, newTrace?.Invoke() ?? TraceContext.New());
        CloseReason? closed;
        lock (_gate)
        {
            _open.Add(connection);
            closed = _closed;
        }
        if (closed is not null) connection.Close(closed);
        return connection;
    }

    /// <summary>Closes every connection, and every later one at once.</summary>
    public void CloseAll(CloseReason reason)
    {
        lock (_gate) _closed ??= reason;
        var open = Open;
        foreach (var connection in open) connection.Mark(reason);
        foreach (var connection in open) connection.End();
    }

    /// <summary>Completes when no connection is open.</summary>
    public Task WhenEmptyAsync()
    {
        lock (_gate)
        {
            if (_open.Count == 0) return Task.CompletedTask;
            return (_empty ??= new(TaskCreationOptions.RunContinuationsAsynchronously)).Task;
        }
    }

    internal void Remove(OpenConnection connection)
    {
        TaskCompletionSource? empty = null;
        lock (_gate)
        {
            _open.Remove(connection);
            if (_open.Count == 0) (empty, _empty) = (_empty, null);
        }
        empty?.TrySetResult();
    }
}
