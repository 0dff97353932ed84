namespace AmbientMesh.Ztunnel;

/// <summary>Gives memory back after a burst: a quiet process may not collect for hours, and would keep what its last connections left behind.</summary>
public static class IdleTrim
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(10);
    private const long QuietBytes = 512 * 1024;
    private const long WorthwhileBytes = 2 * 1024 * 1024;

    /// <summary>Looks every ten seconds until cancelled; collects (a few milliseconds for this heap) only while little is going on.</summary>
    public static async Task RunAsync(TimeProvider clock, CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(Interval, clock);
        var seen = GC.GetTotalAllocatedBytes();
        var trimmed = 0L;
        while (await timer.WaitForNextTickAsync(cancellationToken))
        {
            var now = GC.GetTotalAllocatedBytes();
            if (IsDue(now, seen, trimmed))
            {
                GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
                trimmed = now;
            }
            seen = now;
        }
    }

    /// <summary>Whether the process is quiet now and has left enough behind since the last time. Totals of allocated bytes.</summary>
    public static bool IsDue(long now, long atLastLook, long atLastTrim) => now - atLastLook < QuietBytes && now - atLastTrim > WorthwhileBytes;
}
