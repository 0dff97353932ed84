using System.Threading.Tasks.Sources;

namespace AmbientMesh.Hbone.Http2;

/// <summary>A reusable "something happened" for one waiter: no allocation per wait. The caller's lock makes Reset, Set and Wait alternate.</summary>
/// <param name="inline">Whether the waiter continues on the thread that calls <see cref="Set"/>; it must then neither block nor run long.</param>
internal sealed class Signal(bool inline) : IValueTaskSource
{
    private ManualResetValueTaskSourceCore<bool> _core = new() { RunContinuationsAsynchronously = !inline };

    public void Reset() => _core.Reset();
    public void Set() => _core.SetResult(true);
    public void Fail(Exception error) => _core.SetException(error);
    public ValueTask WaitAsync() => new(this, _core.Version);

    void IValueTaskSource.GetResult(short token) => _core.GetResult(token);
    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => _core.GetStatus(token);

    void IValueTaskSource.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _core.OnCompleted(continuation, state, token, flags);
}
