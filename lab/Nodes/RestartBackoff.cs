namespace AmbientMesh.Lab.Nodes;

/// <summary>Waits between tries: 10 s, 20 s, 40 s and so on to five minutes. Source: Kubernetes, container restart back-off.</summary>
internal sealed class RestartBackoff
{
    private static readonly TimeSpan s_first = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_longest = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan s_forgive = TimeSpan.FromMinutes(10);
    private TimeSpan _next;

    /// <summary>The wait before the next try; zero for the first one, and after a run longer than ten minutes.</summary>
    public TimeSpan Next(TimeSpan ran)
    {
        if (ran > s_forgive) _next = TimeSpan.Zero;
        var wait = _next;
        _next = _next == TimeSpan.Zero ? s_first : _next * 2 < s_longest ? _next * 2 : s_longest;
        return wait;
    }

    /// <summary>A duration as Go prints it: <c>2m40s</c>.</summary>
    public static string Text(TimeSpan time) => time.TotalMinutes >= 1 ? $"{(int)time.TotalMinutes}m{time.Seconds}s" : $"{time.Seconds}s";
}
