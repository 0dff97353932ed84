namespace AmbientMesh.Model.Explanation;

/// <summary>Which ztunnel answers.</summary>
public sealed record Answerer
{
    public string Node { get; init => field = value ?? ""; } = "";
    public string Version { get; init => field = value ?? ""; } = "";
    public DateTimeOffset At { get; init; }
}

/// <summary>A workload, as far as an explanation shows it.</summary>
public sealed record WorkloadReport
{
    /// <summary>Its name on the wire.</summary>
    public string Uid { get; init => field = value ?? ""; } = "";
    public string Name { get; init => field = value ?? ""; } = "";
    public string Namespace { get; init => field = value ?? ""; } = "";
    public string Node { get; init => field = value ?? ""; } = "";
    public IReadOnlyList<string> Addresses { get; init => field = value ?? []; } = [];
    public string Identity { get; init => field = value ?? ""; } = "";

    /// <summary><c>HBONE</c>: enrolled; <c>TCP</c>: not.</summary>
    public string Protocol { get; init => field = value ?? ""; } = "";
    public bool IsHealthy { get; init; }

    /// <summary>Null when traffic to it needs none.</summary>
    public string? Waypoint { get; init; }

    public static WorkloadReport Of(Workload workload) => new()
    {
        Uid = workload.Uid,
        Name = workload.Name,
        Namespace = workload.Namespace,
        Node = workload.Node,
        Addresses = [.. workload.Addresses.Select(a => a.ToString())],
        Identity = workload.Identity.ToString(),
        Protocol = workload.SpeaksHbone ? "HBONE" : "TCP",
        IsHealthy = workload.IsHealthy,
        Waypoint = workload.Waypoint?.ToString(),
    };
}

/// <summary>A service, as far as an explanation shows it.</summary>
/// <param name="Resource">Its name on the wire, <c>namespace/hostname</c>.</param>
/// <param name="Waypoint">Null when traffic to it needs none.</param>
public sealed record ServiceReport(string Resource, string Name, string Namespace, string Hostname, string? Waypoint = null)
{
    public static ServiceReport Of(MeshService service) => new(service.Key.ToString(), service.Name, service.Namespace, service.Hostname, service.Waypoint?.ToString());
}

/// <summary>The certificate of an identity at this ztunnel.</summary>
/// <param name="Problem">Why there is no valid one; null when there is, or while the first is awaited.</param>
public sealed record CertificateReport(string Identity, bool IsValid, DateTimeOffset? NotBefore = null, DateTimeOffset? NotAfter = null, string? Problem = null);

/// <summary>Why a connection is refused.</summary>
/// <param name="Reason">A word of <see cref="Reasons"/>.</param>
/// <param name="Text">As the access log's <c>error</c> has it.</param>
/// <param name="DecidedBy">As the access log's <c>decided_by</c> has it; null where nothing but the fact itself decided.</param>
public sealed record RefusalReport(string Reason, string Text, Decider? DecidedBy = null);

/// <summary>A resource as one ztunnel holds it.</summary>
/// <param name="Kind"><c>workload</c>, <c>service</c> or <c>policy</c>.</param>
/// <param name="Name">Its name on the wire.</param>
/// <param name="Digest">Equal on two nodes exactly when they hold the same content.</param>
public sealed record HeldResource(string Kind, string Name, string Digest);
