using System.Globalization;

namespace AmbientMesh.Ztunnel.Configuration;

/// <summary>How many threads carry bytes (L4 reference §12.2).</summary>
internal static class WorkerThreads
{
    private const int Least = 2;

    /// <summary>Decides. Pure.</summary>
    /// <param name="asked">ZTUNNEL_WORKER_THREADS: a number, a percentage of the processors, or 0 for all of them; null for none.</param>
    /// <param name="concurrency">Of the proxy configuration; 0 for all processors, null for none.</param>
    /// <param name="limit">CPUs the container may use; null for no limit.</param>
    /// <param name="request">CPUs the container asks for; null for none.</param>
    /// <exception cref="FormatException"><paramref name="asked"/> is none of these.</exception>
    public static int Count(string? asked, int? concurrency, int? limit, int? request, int processors)
    {
        if (asked is not null) return Explicit(asked, processors);
        if (concurrency is { } count) return count == 0 ? processors : count;
        if (limit is { } most) return Math.Max(Math.Max(most, request ?? 0), 1);
        return Math.Max(Math.Max((processors + 3) / 4, request ?? 0), Least);
    }

    private static int Explicit(string asked, int processors)
    {
        var percent = asked.EndsWith('%');
        if (!int.TryParse(percent ? asked[..^1] : asked, NumberStyles.None, CultureInfo.InvariantCulture, out var number) || number > (percent ? 100 : 4096))
            throw new FormatException("a number of threads, a percentage of the processors such as 50%, or 0 for all of them");
        if (percent) return Math.Max(1, ((processors * number) + 99) / 100);
        return number == 0 ? processors : number;
    }
}
