namespace AmbientMesh.Testing;

/// <summary>Real time, but waits of exactly these lengths never end: limits that a test does not mean to reach, and a slow machine might.</summary>
public sealed class PatientClock(params TimeSpan[] endless) : TimeProvider
{
    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        base.CreateTimer(callback, state, endless.Contains(dueTime) ? Timeout.InfiniteTimeSpan : dueTime, period);
}
