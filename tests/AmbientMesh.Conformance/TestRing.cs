namespace AmbientMesh.Conformance;

/// <summary>Tests that run together in one process: a test project, or the classes of it that <paramref name="Filter"/> leaves.</summary>
/// <param name="Name">What <c>--only</c> and the results call it.</param>
/// <param name="Project">The short name of the test project.</param>
/// <param name="Filter">Options of the test executable that choose classes; none for all.</param>
public sealed record TestRing(string Name, string Project, params string[] Filter)
{
    // They wait for rollouts, certificates and machines: the lifecycles take eleven minutes beside the other rings on two cores. The whole run must not take longer than this.
    private static readonly TimeSpan s_endToEndLimit = TimeSpan.FromMinutes(20);

    // They restart parts of the mesh, or bring a cluster of their own.
    private static readonly string[] s_apart = ["*.Lifecycle*", "*.FailClosed*", "*.ExportTests", "*.Ipv6OnlyTests"];
    private static readonly TestRing s_lifecycles = new("Lifecycles", "EndToEnd", [.. s_apart.SelectMany(name => new[] { "-class", name })]) { Limit = s_endToEndLimit };

    // Innermost first: a fault shows in the cheapest test that can find it.
    private static readonly TestRing[] s_others =
    [
        .. new[] { "Model", "Identity", "Telemetry", "Rpc", "Xds", "Hbone", "Kubernetes", "Linux", "ControlPlane", "Ztunnel", "Cni", "Fuzz", "Lab", "Cli", "Integration" }.Select(name => new TestRing(name, name)),
        new("EndToEnd", "EndToEnd", [.. s_apart.SelectMany(name => new[] { "-class-", name })]) { Limit = s_endToEndLimit },
    ];

    /// <summary>When the tests are killed, because they hang.</summary>
    public TimeSpan Limit { get; private init; } = TimeSpan.FromMinutes(15);

    public static IReadOnlyList<TestRing> All { get; } = [.. s_others, s_lifecycles];

    /// <summary>The rings in lanes: the rings of a lane run one after the other, the lanes beside each other. The lifecycles mostly wait, and have a lab of their own;
    /// in a cluster that was given (<paramref name="shared"/>) there is one lane, because they restart what the other tests use.</summary>
    public static IReadOnlyList<IReadOnlyList<TestRing>> Lanes(IReadOnlyList<string> only, bool shared)
    {
        IReadOnlyList<IReadOnlyList<TestRing>> lanes = shared ? [All] : [[s_lifecycles], s_others];
        return [.. lanes.Select(lane => lane.Where(ring => ring.IsOneOf(only)).ToArray()).Where(lane => lane.Length > 0)];
    }

    private bool IsOneOf(IReadOnlyList<string> names) => names.Count == 0 || names.Contains(Name, StringComparer.OrdinalIgnoreCase);
}
