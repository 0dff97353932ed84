using System.Text.Json.Serialization;

namespace AmbientMesh.Model.Explanation;

/// <summary>What the ztunnel of the destination's node does with a connection that arrives: answer of <c>GET /debug/explain?side=inbound&amp;…</c>.</summary>
public sealed record InboundExplanation
{
    public Answerer By { get; init => field = value ?? new(); } = new();

    /// <summary>The pod the connection arrives at; null when this ztunnel does not know it.</summary>
    public WorkloadReport? Pod { get; init; }

    /// <summary>Whether this ztunnel serves the pod: <c>Up</c>, <c>Pending</c>, or null.</summary>
    public string? ServedAs { get; init; }
    public CertificateReport? Certificate { get; init; }

    /// <summary>Whether it arrives through a tunnel with mutual TLS; otherwise plain.</summary>
    public bool IsMutualTls { get; init; }

    /// <summary>The client's identity policies are asked with; null for a plain connection.</summary>
    public string? Peer { get; init; }

    /// <summary>The client's address policies are asked with.</summary>
    public string Source { get; init => field = value ?? ""; } = "";

    /// <summary>The address and port policies are asked with; null when the request is refused before.</summary>
    public string? Destination { get; init; }

    /// <summary>Where the application is dialled.</summary>
    public string? Upstream { get; init; }

    /// <summary>The waypoints of the pod and of its services, one of which the client must be; empty when there are none, or when this ztunnel does not ask for that
    /// (REQUIRE_WAYPOINT). Judged before any policy.</summary>
    public IReadOnlyList<RequiredWaypoint> RequiredWaypoints { get; init => field = value ?? []; } = [];

    /// <summary>Refused because the client is none of <see cref="RequiredWaypoints"/>: no policy had a say.</summary>
    [JsonIgnore]
    public bool MissesItsWaypoint => RequiredWaypoints.Count > 0 && !RequiredWaypoints.Any(w => w.IsPeer);

    /// <summary>Every policy that applies to the pod, in the order the verdict looks at them.</summary>
    public IReadOnlyList<PolicyReport> Policies { get; init => field = value ?? []; } = [];

    /// <summary>Null: the connection is let in.</summary>
    public RefusalReport? Refusal { get; init; }
    public IReadOnlyList<HeldResource> Resources { get; init => field = value ?? []; } = [];
}

/// <summary>A waypoint through which a connection must have come.</summary>
/// <param name="Waypoint">As the binding names it.</param>
/// <param name="BoundBy">What is bound to it: <c>Workload shop/web-1</c>, <c>Service shop/web</c>.</param>
/// <param name="Identities">Who it may prove to be; empty when there is no such waypoint.</param>
/// <param name="IsPeer">The client is it.</param>
public sealed record RequiredWaypoint(string Waypoint, string BoundBy, IReadOnlyList<string> Identities, bool IsPeer);

/// <summary>One policy and what it says about a connection.</summary>
public sealed record PolicyReport
{
    /// <summary>Its name on the wire, <c>namespace/name</c>.</summary>
    public string Resource { get; init => field = value ?? ""; } = "";

    /// <summary>The user's object: <c>AuthorizationPolicy shop/deny-all</c>.</summary>
    public string Object { get; init => field = value ?? ""; } = "";

    /// <summary><c>ALLOW</c> or <c>DENY</c>.</summary>
    public string Action { get; init => field = value ?? ""; } = "";
    public string Scope { get; init => field = value ?? ""; } = "";

    /// <summary>Judged, never enforced.</summary>
    public bool IsDryRun { get; init; }

    /// <summary>The pod lists it and this ztunnel does not hold it.</summary>
    public bool IsMissing { get; init; }

    /// <summary>Whether the connection matches it.</summary>
    public bool Matches { get; init; }

    /// <summary>The verdict was clear before this policy was looked at.</summary>
    public bool IsBeyondVerdict { get; init; }

    /// <summary>Its rules, and of each whether it matches or which clause does not hold.</summary>
    public IReadOnlyList<RuleReport> Rules { get; init => field = value ?? []; } = [];
}

/// <summary>One rule of a policy.</summary>
/// <param name="Text">All of it, in words.</param>
/// <param name="FailingClause">The first clause that does not hold, in words; null when the rule matches.</param>
public sealed record RuleReport(string Text, bool Matches, string? FailingClause = null);
