namespace AmbientMesh.Cli.Output;

/// <summary>A length of time as kubectl shows ages: the largest unit that gives at least two, e.g. <c>95s</c>, <c>12m</c>, <c>30h</c>, <c>5d</c>.</summary>
public static class Ages
{
    public static string Of(TimeSpan age) => age switch
    {
        { Ticks: < 0 } => "0s",
        { TotalMinutes: < 2 } => $"{(int)age.TotalSeconds}s",
        { TotalHours: < 2 } => $"{(int)age.TotalMinutes}m",
        { TotalDays: < 2 } => $"{(int)age.TotalHours}h",
        _ => $"{(int)age.TotalDays}d",
    };
}
