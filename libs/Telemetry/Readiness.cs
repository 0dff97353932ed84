namespace AmbientMesh.Telemetry;

/// <summary>What a process still waits for before it may serve. Thread-safe.</summary>
public sealed class Readiness
{
    private readonly Lock _gate = new();
    private readonly SortedSet<string> _pending = new(StringComparer.Ordinal);
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Names still waited for, sorted.</summary>
    public IReadOnlyList<string> Pending
    {
        get { lock (_gate) return [.. _pending]; }
    }

    public bool IsReady => Pending.Count == 0;

    /// <summary>Text of a not-ready answer: <c>not ready, pending: a, b</c>.</summary>
    public string PendingText => $"not ready, pending: {string.Join(", ", Pending)}";

    public void Wait(string name) => Set(name, pending: true);
    public void Done(string name) => Set(name, pending: false);

    public void Set(string name, bool pending)
    {
        TaskCompletionSource? changed = null;
        lock (_gate)
        {
            if (pending ? _pending.Add(name) : _pending.Remove(name))
            {
                changed = _changed;
                _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
            }
        }
        changed?.TrySetResult();
    }

    /// <summary>Completes when nothing is pending.</summary>
    public async Task WhenReadyAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            Task changed;
            lock (_gate)
            {
                if (_pending.Count == 0) return;
                changed = _changed.Task;
            }
            await changed.WaitAsync(cancellationToken);
        }
    }
}
