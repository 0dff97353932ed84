namespace AmbientMesh.Lab.Tests.Api.Replay;

/// <summary>Recordings that are not replayed, each with its reason.</summary>
internal static class NotReplayed
{
    /// <summary>Whole files.</summary>
    public static IReadOnlyDictionary<string, string> Files { get; } = new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["kubectl/cp.txt"] = "needs running containers: covered by the cluster tests",
        ["kubectl/exec.txt"] = "needs running containers: covered by the cluster tests",
        ["kubectl/exec-tty.txt"] = "needs running containers: covered by the cluster tests",
        ["kubectl/exec-spdy.txt"] = "SPDY is not served: kubectl speaks WebSocket first",
        ["kubectl/logs.txt"] = "needs running containers: covered by the cluster tests",
        ["kubectl/port-forward.txt"] = "needs running containers",
        ["kubectl/port-forward-spdy.txt"] = "SPDY is not served",
        ["kubectl/degraded-servers.txt"] = "servers that lack something on purpose",
        ["auth/token-review.txt"] = "the recording holds no real tokens: the same cases are in TokenTests",
        ["auth/token-review-of-pod-tokens.txt"] = "the recording holds no real tokens: the same cases are in TokenTests",
        ["discovery/openapi-v2.txt"] = "OpenAPI v2 is not served; kubectl does without it",
        ["discovery/openapi-v3-root.txt"] = "documents are generated from the lab's own tables",
        ["discovery/openapi-v3-fetch.txt"] = "documents are generated from the lab's own tables",
        ["discovery/openapi-v3-widgets-full.txt"] = "documents are generated from the lab's own tables",
    };

    /// <summary>Single exchanges: file and line.</summary>
    private static readonly Dictionary<string, string> Exchanges = new(StringComparer.Ordinal)
    {
    };

    public static string? Reason(string file, Exchange exchange)
    {
        if (Exchanges.TryGetValue($"{file}:{exchange.Line}", out var reason)) return reason;
        if (exchange.IsWatch) return "a stream over time: covered by the watch tests";
        if (exchange.HasShortenedBody) return "the recording holds no whole body";
        if (exchange.Header("Upgrade") is not null) return "a protocol upgrade";
        return null;
    }

    /// <summary>The account behind a recording's bearer token.</summary>
    public static string AccountOf(string file) => file switch
    {
        _ when file.StartsWith("auth/", StringComparison.Ordinal) => "auth/alice",
        _ => "sem/weak",
    };
}
