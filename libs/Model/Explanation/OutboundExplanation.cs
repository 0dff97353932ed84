namespace AmbientMesh.Model.Explanation;

/// <summary>How a connection leaves its pod, as the ztunnel of that pod's node decides it now: answer of <c>GET /debug/explain?from=…&amp;to=…</c>.</summary>
public sealed record OutboundExplanation
{
    /// <summary>Who answers, and when.</summary>
    public Answerer By { get; init => field = value ?? new(); } = new();

    /// <summary>The pod that connects; null when the mesh does not know it.</summary>
    public WorkloadReport? Source { get; init; }

    /// <summary>Whether this ztunnel serves the source: <c>Up</c>, <c>Pending</c>, or null.</summary>
    public string? ServedAs { get; init; }
    public CertificateReport? Certificate { get; init; }

    /// <summary>What was asked for, as given.</summary>
    public string Asked { get; init => field = value ?? ""; } = "";

    /// <summary>How the name was understood; null when an address was given.</summary>
    public NameReport? Name { get; init; }

    /// <summary>The address and port that were decided about; null when the name leads to none.</summary>
    public string? Destination { get; init; }
    public ServiceReport? Service { get; init; }

    /// <summary>The workload the address belongs to; null for a service or an address outside the mesh.</summary>
    public WorkloadReport? Workload { get; init; }

    /// <summary>Every search for an endpoint the decision made.</summary>
    public IReadOnlyList<SearchReport> Searches { get; init => field = value ?? []; } = [];

    /// <summary>Every way the connection may go; which one is taken is drawn for each connection.</summary>
    public IReadOnlyList<RouteReport> Routes { get; init => field = value ?? []; } = [];

    /// <summary>There are more ways than are listed.</summary>
    public bool HasMoreRoutes { get; init; }

    /// <summary>This ztunnel asks for addresses when a connection needs them: what it does not know may yet be of the mesh.</summary>
    public bool AsksOnDemand { get; init; }

    /// <summary>Why there is no route at all; null when there are some.</summary>
    public RefusalReport? Refusal { get; init; }

    /// <summary>What it was decided by, to be compared with what other nodes hold.</summary>
    public IReadOnlyList<HeldResource> Resources { get; init => field = value ?? []; } = [];
}

/// <summary>How a host name was understood.</summary>
/// <param name="Owner">The full name that answers; empty when the mesh does not know the name and name servers are asked.</param>
/// <param name="Addresses">All its addresses; the first was decided about.</param>
public sealed record NameReport(string Asked, string Owner, IReadOnlyList<string> Addresses);

/// <summary>One search for an endpoint.</summary>
/// <param name="Use"><c>destination</c> or <c>waypoint</c>.</param>
/// <param name="Mode">How the service balances, with its scopes, in words.</param>
public sealed record SearchReport(ServiceReport Service, int Port, string Use, string Mode, IReadOnlyList<EndpointReport> Endpoints);

/// <summary>An endpoint and whether it is drawn from.</summary>
/// <param name="IsCandidate">It may be chosen.</param>
/// <param name="Why">Why it is in or out, in words.</param>
/// <param name="Weight">Its part among the candidates.</param>
public sealed record EndpointReport(WorkloadReport Workload, bool IsCandidate, string Why, int? Port = null, uint Weight = 0);

/// <summary>One way a connection may go.</summary>
public sealed record RouteReport
{
    /// <summary>How probable it is, 0 to 1.</summary>
    public double Share { get; init; }
    public RouteKind Kind { get; init; }

    /// <summary>Where TCP is dialled.</summary>
    public string? NextHop { get; init; }

    /// <summary>What the tunnel is asked for; null without one.</summary>
    public string? Authority { get; init; }

    /// <summary>Who may answer there; empty without TLS.</summary>
    public IReadOnlyList<string> ExpectedIdentities { get; init => field = value ?? []; } = [];

    /// <summary>The workload dialled: the destination or its waypoint; null when the mesh does not know it.</summary>
    public WorkloadReport? Peer { get; init; }
    public bool IsThroughWaypoint { get; init; }

    /// <summary>Set for <see cref="RouteKind.Refused"/>.</summary>
    public RefusalReport? Refusal { get; init; }
}

/// <summary>Kinds of routes.</summary>
public enum RouteKind
{
    /// <summary>Through a tunnel with mutual TLS.</summary>
    Hbone,
    /// <summary>Plain TCP.</summary>
    Tcp,
    /// <summary>A tunnel in a tunnel, to another network.</summary>
    DoubleHbone,
    /// <summary>Not at all.</summary>
    Refused,
}
