namespace AmbientMesh.Ztunnel.Certificates;

/// <summary>How urgent a certificate is; higher goes first.</summary>
public enum SvidPriority
{
    /// <summary>A scheduled renewal or retry.</summary>
    Background,
    /// <summary>A pod is there and will need it.</summary>
    Warmup,
    /// <summary>A connection waits for it.</summary>
    RealTime,
}

/// <summary>When a certificate is asked for again (L4 reference §6.2). Pure.</summary>
public static class SvidSchedule
{
    private static readonly TimeSpan FirstRetry = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestRetry = TimeSpan.FromSeconds(150);
    private const double Jitter = 0.2;

    /// <summary>How long before its clock's now the CA lets certificates begin (L4 reference §6.5).</summary>
    public static readonly TimeSpan BackDating = TimeSpan.FromMinutes(2);

    /// <summary>Within this all certificates are renewed when the roots change.</summary>
    public static readonly TimeSpan RenewalSpread = TimeSpan.FromSeconds(10);

    /// <summary>The wait after the n-th failure in a row (n from 1): 1 s, doubling, at most 150 s, ±20 %.</summary>
    /// <param name="draw">0 to 1.</param>
    public static TimeSpan RetryAfter(int failures, double draw)
    {
        var plain = failures > 10 ? LongestRetry : FirstRetry * Math.Pow(2, failures - 1);
        var spread = plain * (1 + (Jitter * ((2 * draw) - 1)));
        return spread < LongestRetry ? spread : LongestRetry;
    }

    /// <summary>The wait after the n-th certificate in a row that came past half of its life: growing like that after failures, but never past half of what is left.</summary>
    public static TimeSpan WaitAfterStale(int stale, TimeSpan left)
    {
        var wait = RetryAfter(Math.Max(1, stale), 0.5);
        return left > TimeSpan.Zero && left / 2 < wait ? left / 2 : wait;
    }

    /// <summary>When to renew a certificate whose renewal failed: after the back-off, but not later than it expires.</summary>
    public static DateTimeOffset RetryAt(DateTimeOffset now, TimeSpan wait, DateTimeOffset? expires) =>
        expires is { } end && end > now && end < now + wait ? end : now + wait;
}
