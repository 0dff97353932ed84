namespace AmbientMesh.ControlPlane.Discovery;

/// <summary>Turns a run of changes into one push: it fires when nothing has come for the quiet time, and at the latest after the maximum.</summary>
/// <remarks>Thread-safe. Reference 4.5: 100 ms quiet, 10 s at most.</remarks>
public sealed class Debouncer : IDisposable
{
    private readonly Lock _gate = new();
    private readonly TimeSpan _quiet;
    private readonly TimeSpan _max;
    private readonly Action<TimeSpan> _fire;
    private readonly TimeProvider _clock;
    private readonly ITimer _timer;
    private long? _first;   // timestamp of the first change not yet fired for

    /// <param name="quiet">Time without a change before firing.</param>
    /// <param name="max">Time after the first change when firing no longer waits.</param>
    /// <param name="fire">Called on a timer thread with the time since the first change; must not block.</param>
    /// <param name="clock">Tells the time.</param>
    public Debouncer(TimeSpan quiet, TimeSpan max, Action<TimeSpan> fire, TimeProvider clock)
    {
        (_quiet, _max, _fire, _clock) = (quiet, max, fire, clock);
        _timer = clock.CreateTimer(_ => Fire(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Notes that something changed now.</summary>
    public void Changed()
    {
        lock (_gate)
        {
            var now = _clock.GetTimestamp();
            _first ??= now;
            var left = _max - _clock.GetElapsedTime(_first.Value, now);
            var wait = left < _quiet ? left : _quiet;
            _timer.Change(wait > TimeSpan.Zero ? wait : TimeSpan.Zero, Timeout.InfiniteTimeSpan);
        }
    }

    public void Dispose() => _timer.Dispose();

    private void Fire()
    {
        TimeSpan waited;
        lock (_gate)
        {
            if (_first is not { } first) return;   // fired by a timer that was already under way
            waited = _clock.GetElapsedTime(first);
            _first = null;
        }
        _fire(waited);
    }
}
