using System.Text.Json.Serialization;

namespace AmbientMesh.Telemetry.Coverage;

/// <summary>A share in percent with four decimals.</summary>
internal static class Share
{
    /// <summary>Cut, not rounded: 100 means all of it. Null of nothing.</summary>
    public static double? Of(long part, long all) => all > 0 ? Math.Floor(1e6 * part / all) / 1e4 : null;
}

/// <summary>Connections, and bytes both ways together; neither is negative.</summary>
public readonly record struct TrafficCount(long Connections, long Bytes)
{
    public static TrafficCount operator +(TrafficCount a, TrafficCount b) => new(Sum(a.Connections, b.Connections), Sum(a.Bytes, b.Bytes));

    /// <summary>The most there is where the sum would be more: counters come from other processes, and one that is wrong must not turn a total negative.</summary>
    internal static long Sum(long a, long b) => a > long.MaxValue - b ? long.MaxValue : a + b;
}

/// <summary>Traffic by how it was secured.</summary>
public sealed record Traffic
{
    public TrafficCount MutualTls { get; init; }
    public TrafficCount Plaintext { get; init; }

    /// <summary>Share of bytes under mutual TLS, 0 to 100, never rounded up; null without any.</summary>
    public double? PercentBytesMutualTls => Share.Of(MutualTls.Bytes, TrafficCount.Sum(MutualTls.Bytes, Plaintext.Bytes));

    public static Traffic operator +(Traffic a, Traffic b) => new() { MutualTls = a.MutualTls + b.MutualTls, Plaintext = a.Plaintext + b.Plaintext };
}

/// <summary>One side of a pair; the workload is a controller's name (a Deployment, say), and both are <c>unknown</c> for what the mesh does not know.</summary>
public readonly record struct PairEnd(string Namespace, string Workload);

/// <summary>Traffic from one workload to another.</summary>
public sealed record PairTraffic
{
    public required PairEnd Source { get; init; }
    public required PairEnd Destination { get; init; }
    public required Traffic Traffic { get; init; }

    /// <summary>In a ztunnel's own report: <c>source</c> or <c>destination</c>, which of the two it counted at. Null in the mesh's.</summary>
    public string? Reporter { get; init; }
}

/// <summary>What a ztunnel carried: <c>/debug/coverage</c> of its admin port.</summary>
public sealed record ZtunnelCoverage
{
    public required string Node { get; init; }
    public DateTimeOffset Time { get; init; }
    public int PodsServed { get; init; }

    /// <summary>Pods handed over whose listeners are not open yet.</summary>
    public int PodsPending { get; init; }

    /// <summary>Since its start, counted at both ends it serves.</summary>
    public required Traffic Traffic { get; init; }

    /// <summary>Those with most plaintext first, then most bytes.</summary>
    public IReadOnlyList<PairTraffic> Pairs { get; init => field = value ?? []; } = [];
    public int PairsLeftOut { get; init; }
}

/// <summary>One pod in an agent's report.</summary>
public sealed record PodCoverage
{
    /// <summary><c>namespace/name</c>.</summary>
    public required string Pod { get; init; }
    public string Uid { get; init => field = value ?? ""; } = "";

    /// <summary>
    /// <c>verified</c>: found as it should be, in the kernel and at ztunnel, at <see cref="VerifiedAt"/>. <c>enrolled</c>: enrolled, not looked at again yet.
    /// <c>gap</c>: should be protected and is not. <c>starting</c>: has no address yet, or is being enrolled at this moment. <c>exempt</c>: left out on purpose.
    /// </summary>
    public required string State { get; init; }

    /// <summary>Word of <see cref="ProtectionGap"/> or <see cref="Exemption"/>; null otherwise.</summary>
    public string? Reason { get; init; }

    /// <summary>For people; null where the reason says all.</summary>
    public string? Message { get; init; }

    /// <summary>Since when it is a gap.</summary>
    public DateTimeOffset? Since { get; init; }
    public DateTimeOffset? VerifiedAt { get; init; }
}

/// <summary>The states of <see cref="PodCoverage.State"/>.</summary>
public static class PodStates
{
    public const string Verified = "verified";
    public const string Enrolled = "enrolled";
    public const string Gap = "gap";
    public const string Starting = "starting";
    public const string Exempt = "exempt";

    public static IReadOnlyList<string> All { get; } = [Verified, Enrolled, Gap, Starting, Exempt];
}

/// <summary>The pods of one node: <c>/debug/coverage</c> of the node agent's status port.</summary>
public sealed record AgentCoverage
{
    public required string Node { get; init; }
    public DateTimeOffset Time { get; init; }

    /// <summary>How pods are redirected: iptables or nftables.</summary>
    public string Redirection { get; init => field = value ?? ""; } = "";

    /// <summary>ztunnels connected now.</summary>
    public int Ztunnels { get; init; }

    /// <summary>End of the last round over all pods; null before the first.</summary>
    public DateTimeOffset? LastVerification { get; init; }

    /// <summary>Pods that belong to the mesh, and those of its namespaces that are exempt.</summary>
    public IReadOnlyList<PodCoverage> Pods { get; init => field = value ?? []; } = [];
}

/// <summary>How many pods are protected.</summary>
public sealed record PodCounts
{
    /// <summary>Should be in the mesh: all but those exempt and those outside.</summary>
    public int Expected { get; init; }

    /// <summary>Enrolled, verified ones included.</summary>
    public int Enrolled { get; init; }
    public int Verified { get; init; }
    public int Gaps { get; init; }
    public int Starting { get; init; }
    public int Exempt { get; init; }

    /// <summary>Of no enrolled namespace, and not labelled.</summary>
    public int Outside { get; init; }

    /// <summary>Share of the expected ones that are enrolled, 0 to 100; null when none is expected.</summary>
    public double? PercentEnrolled => Share.Of(Enrolled, Expected);
}

/// <summary>A pod of the mesh's report that is unprotected, or exempt.</summary>
public sealed record MeshPod
{
    public required string Pod { get; init; }
    public string Node { get; init => field = value ?? ""; } = "";
    public required string Reason { get; init; }
    public string? Message { get; init; }
    public DateTimeOffset? Since { get; init; }
}

/// <summary>Whether a node's part could be asked.</summary>
public sealed record PartState
{
    /// <summary><c>namespace/name</c> of its pod; null when there is none.</summary>
    public string? Pod { get; init; }

    /// <summary><c>fresh</c>, <c>stale</c> (asked before, not now: its last figures still count), <c>unreachable</c> (never answered), <c>silent</c> (answers without these
    /// figures: another vendor's), <c>missing</c> (no such pod on the node).</summary>
    public required string State { get; init; }
    public DateTimeOffset? LastAnswer { get; init; }

    /// <summary>Why it could not be asked; null when it could.</summary>
    public string? Problem { get; init; }
}

/// <summary>One node in the mesh's report.</summary>
public sealed record NodeCoverage
{
    public required string Node { get; init; }
    public required PodCounts Pods { get; init; }
    public required PartState Agent { get; init; }
    public required PartState Ztunnel { get; init; }
}

/// <summary>How much of the mesh is truly protected: <c>/debug/coverage</c> of the control plane.</summary>
public sealed record MeshCoverage
{
    public DateTimeOffset Time { get; init; }
    public required PodCounts Pods { get; init; }

    /// <summary>Since <see cref="TrafficSince"/>.</summary>
    public required Traffic Traffic { get; init; }

    /// <summary>The part of it between workloads that the mesh knows: without what enters or leaves the cluster.</summary>
    public Traffic BetweenWorkloads { get; init => field = value ?? new(); } = new();

    /// <summary>When the oldest ztunnel counted was started.</summary>
    public DateTimeOffset TrafficSince { get; init; }

    /// <summary>Of the last hour at most.</summary>
    public required Traffic LastHour { get; init; }

    /// <summary>Pods that should be protected and are not, longest first.</summary>
    public IReadOnlyList<MeshPod> Gaps { get; init => field = value ?? []; } = [];

    /// <summary>Pods left out on purpose.</summary>
    public IReadOnlyList<MeshPod> Exempt { get; init => field = value ?? []; } = [];

    /// <summary>Those with most plaintext first, then most bytes.</summary>
    public IReadOnlyList<PairTraffic> Pairs { get; init => field = value ?? []; } = [];

    /// <summary>Pairs counted in the totals and not listed.</summary>
    public int PairsLeftOut { get; init; }
    public IReadOnlyList<NodeCoverage> Nodes { get; init => field = value ?? []; } = [];
}

/// <summary>Reads and writes the reports, without reflection.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, WriteIndented = true)]
[JsonSerializable(typeof(ZtunnelCoverage))]
[JsonSerializable(typeof(AgentCoverage))]
[JsonSerializable(typeof(MeshCoverage))]
public sealed partial class CoverageJson : JsonSerializerContext;
