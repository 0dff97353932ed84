namespace AmbientMesh.Model;

/// <summary>Holds the snapshot in force. Readers take <see cref="Current"/>; one writer at a time publishes the next one whole.</summary>
public sealed class MeshStore
{
    private readonly Lock _writing = new();
    private readonly string _localNode;
    private volatile MeshSnapshot _current = MeshSnapshot.Empty;
    private volatile TaskCompletionSource _changed = NewSignal();

    /// <summary>A store whose snapshots count the identities of <paramref name="localNode"/>; empty for none.</summary>
    public MeshStore(string localNode = "") => _localNode = localNode;

    public MeshSnapshot Current => _current;

    /// <summary>Applies a batch and publishes the result; an exception publishes nothing.</summary>
    public MeshSnapshot Edit(Action<MeshEdit> changes)
    {
        TaskCompletionSource changed;
        MeshSnapshot next;
        lock (_writing)
        {
            var edit = new MeshEdit(_current, _localNode);
            changes(edit);
            next = edit.Build();
            if (ReferenceEquals(next, _current)) return next;
            _current = next;
            changed = _changed;
            _changed = NewSignal();
        }
        changed.TrySetResult();
        return next;
    }

    /// <summary>Completes with the newest snapshot once it is another than <paramref name="seen"/>.</summary>
    public async ValueTask<MeshSnapshot> AfterAsync(MeshSnapshot seen, CancellationToken cancellationToken)
    {
        while (true)
        {
            var changed = _changed;   // taken before the snapshot: a change between the two completes it
            var current = _current;
            if (!ReferenceEquals(current, seen)) return current;
            await changed.Task.WaitAsync(cancellationToken);
        }
    }

    /// <summary>The first answer of <paramref name="look"/> that is not null, now or after a later change.</summary>
    public async ValueTask<T> WhenAsync<T>(Func<MeshSnapshot, T?> look, CancellationToken cancellationToken) where T : class
    {
        var snapshot = _current;
        while (true)
        {
            if (look(snapshot) is { } found) return found;
            snapshot = await AfterAsync(snapshot, cancellationToken);
        }
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
