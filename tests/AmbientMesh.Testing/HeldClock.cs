namespace AmbientMesh.Testing;

/// <summary>
/// A clock that stands until it is moved, where only waits of the given lengths stand with it. All others run in real time, so that what is not the
/// test's matter goes on: a connection that did not come about on a busy machine is tried again.
/// </summary>
public sealed class HeldClock(params TimeSpan[] held) : TimeProvider
{
    private readonly FakeTimeProvider _standing = new(System.GetUtcNow());

    public override long TimestampFrequency => _standing.TimestampFrequency;

    public override DateTimeOffset GetUtcNow() => _standing.GetUtcNow();

    public override long GetTimestamp() => _standing.GetTimestamp();

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        (held.Contains(dueTime) ? _standing : System).CreateTimer(callback, state, dueTime, period);

    /// <summary>Completes once the times until the held waits end, in order, satisfy <paramref name="condition"/>.</summary>
    public Task TimersAsync(Func<IReadOnlyList<TimeSpan>, bool> condition, CancellationToken cancellationToken) => _standing.TimersAsync(condition, cancellationToken);

    public void Advance(TimeSpan by) => _standing.Advance(by);
}
