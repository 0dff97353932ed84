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

    /// <summary>Every policy that applies to the pod, in the order the verdict looks at them.</summary>
    public IReadOnlyList<PolicyReport> Policies { get; init => field = value ?? []; } = [];

    /// <summary>Null: the connection is let in.</summary>
    public RefusalReport? Refusal { get; init; }
    public IReadOnlyList<HeldResource> Resources { get; init => field = value ?? []; } = [];
}

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
public sealed record RuleReport(string Text, bool Matches, string? FailingClause);
