namespace AmbientMesh.Kubernetes;

/// <summary>How long to wait before trying again: doubling from <paramref name="first"/> to <paramref name="cap"/>, each wait spread by half so that clients do not come together.</summary>
/// <param name="random">A number from 0 to below 1.</param>
internal sealed class Backoff(TimeSpan first, TimeSpan cap, Func<double> random)
{
    private int _step;

    /// <summary>The wait now, between half and one and a half of the current step.</summary>
    /// <param name="atLeast">What the server asked for, if it did.</param>
    public TimeSpan Next(TimeSpan? atLeast = null)
    {
        var step = Math.Min(first.TotalSeconds * Math.Pow(2, _step), cap.TotalSeconds);
        if (step < cap.TotalSeconds) _step++;
        var wait = TimeSpan.FromSeconds(step * (0.5 + random()));
        return atLeast > wait ? atLeast.Value : wait;
    }

    public void Reset() => _step = 0;
}
