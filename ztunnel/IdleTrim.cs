namespace AmbientMesh.Ztunnel;

/// <summary>Gives memory back after a burst: a quiet process may not collect for hours, and would keep what its last connections left behind.</summary>
public static class IdleTrim
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(10);
    private const long QuietBytes = 512 * 1024;
    private const long QuietCarriedBytes = 1024 * 1024;
    private const long WorthwhileBytes = 2 * 1024 * 1024;

    /// <summary>Looks every ten seconds until cancelled; collects (a few milliseconds for this heap) only while little is going on.</summary>
    /// <param name="carried">Bytes of connections so far: carrying them allocates nothing, and a collection would hold them up.</param>
    public static async Task RunAsync(Func<long> carried, TimeProvider clock, CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(Interval, clock);
        var seen = new Totals(GC.GetTotalAllocatedBytes(), carried());
        var trimmed = 0L;
        while (await timer.WaitForNextTickAsync(cancellationToken))
        {
            var now = new Totals(GC.GetTotalAllocatedBytes(), carried());
            if (IsDue(now, seen, trimmed))
            {
                GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
                trimmed = now.Allocated;
            }
            seen = now;
        }
    }

    /// <summary>Bytes since the process began.</summary>
    public readonly record struct Totals(long Allocated, long Carried);

    /// <summary>Whether the process is quiet now and has left enough behind since the last time.</summary>
    /// <param name="allocatedAtLastTrim">Bytes.</param>
    public static bool IsDue(Totals now, Totals atLastLook, long allocatedAtLastTrim) =>
        now.Allocated - atLastLook.Allocated < QuietBytes && now.Carried - atLastLook.Carried < QuietCarriedBytes && now.Allocated - allocatedAtLastTrim > WorthwhileBytes;
}
