namespace AmbientMesh.Kubernetes;

/// <summary>A cancellation that comes from the caller or from time running out, whichever is first.</summary>
internal sealed class Deadline : IDisposable
{
    private readonly CancellationTokenSource _timer;
    private readonly CancellationTokenSource _either;

    public Deadline(TimeSpan limit, TimeProvider clock, CancellationToken caller)
    {
        _timer = new CancellationTokenSource(limit, clock);
        _either = CancellationTokenSource.CreateLinkedTokenSource(_timer.Token, caller);
    }

    public CancellationToken Token => _either.Token;

    /// <summary>Time runs anew from now.</summary>
    public void Restart(TimeSpan limit) => _timer.CancelAfter(limit);

    public void Dispose()
    {
        _either.Dispose();
        _timer.Dispose();
    }
}
