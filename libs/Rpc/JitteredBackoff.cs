namespace AmbientMesh.Rpc;

/// <summary>How long to wait before trying again: doubling from a first wait to a cap, each spread at random so that clients do not return together.</summary>
/// <remarks>Not for use by several threads at once.</remarks>
/// <param name="initial">The first wait.</param>
/// <param name="cap">The longest, before jitter.</param>
/// <param name="jitter">Share of the wait by which it varies either way: 0.2 is ±20 %.</param>
/// <param name="random">Source of the spread; null takes the shared one.</param>
public sealed class JitteredBackoff(TimeSpan initial, TimeSpan cap, double jitter = 0.2, Random? random = null)
{
    private readonly Random _random = random ?? Random.Shared;
    private readonly TimeSpan _initial = initial;
    private TimeSpan _next = initial;

    /// <summary>The wait for this attempt; the following one is twice as long.</summary>
    public TimeSpan Next()
    {
        var wait = _next;
        _next = wait < cap / 2 ? wait * 2 : cap;
        return wait * (1 + jitter * (2 * _random.NextDouble() - 1));
    }

    /// <summary>Begins again at the first wait; called after success.</summary>
    public void Reset() => _next = _initial;

    /// <summary>Waits <see cref="Next"/> on <paramref name="clock"/> and returns how long that was.</summary>
    public async Task<TimeSpan> WaitAsync(TimeProvider clock, CancellationToken cancellationToken)
    {
        var wait = Next();
        await Task.Delay(wait, clock, cancellationToken);
        return wait;
    }
}
