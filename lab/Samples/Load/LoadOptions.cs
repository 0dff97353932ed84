namespace AmbientMesh.Samples.Load;

/// <summary>How much load, where to, and for how long. Every number is bounded, so that a forgotten load ends by itself.</summary>
/// <param name="Target">HOST:PORT of a TCP echo; the name is resolved for every connection.</param>
/// <param name="PerSecond">New connections a second; 0 to 1,000.</param>
/// <param name="LongLived">Connections held open; 0 to 1,000.</param>
/// <param name="MessageInterval">Time between two messages of a long-lived connection; 1 ms to 60 s.</param>
/// <param name="Life">A long-lived connection ends in order after this and another takes its place; zero for the whole load. At most 1 h.</param>
/// <param name="Duration">The load ends by itself after this; 1 s to 1 h.</param>
/// <param name="AnswerLimit">An answer that takes longer is a failure; 1 to 120 s.</param>
/// <param name="ReportPort">Where the counts can be asked for over HTTP; 0 for nowhere.</param>
internal sealed record LoadOptions(EchoTarget Target, int PerSecond, int LongLived, TimeSpan MessageInterval, TimeSpan Life, TimeSpan Duration, TimeSpan AnswerLimit, int ReportPort)
{
    /// <exception cref="FormatException">A number is missing or out of its range.</exception>
    public static LoadOptions Read(string target, string[] rest) => new(
        EchoTarget.Parse(target),
        Options.Within(rest, "--rate", 20, 0, 1000),
        Options.Within(rest, "--long-lived", 10, 0, 1000),
        TimeSpan.FromMilliseconds(Options.Within(rest, "--message-ms", 200, 1, 60_000)),
        TimeSpan.FromSeconds(Options.Within(rest, "--life-seconds", 0, 0, 3600)),
        TimeSpan.FromSeconds(Options.Within(rest, "--seconds", 60, 1, 3600)),
        TimeSpan.FromSeconds(Options.Within(rest, "--answer-seconds", 10, 1, 120)),
        Options.Within(rest, "--report", 0, 0, 65535));
}
