using AmbientMesh.Kubernetes;

namespace AmbientMesh.Cli.Status;

/// <summary>A workload of the mesh: how many pods it should have and how many are ready.</summary>
internal sealed record PartStatus(string Name, string Kind, int Ready, int Desired, IReadOnlyList<string> Versions)
{
    public bool IsFine => Desired > 0 && Ready >= Desired;
}

/// <summary>One discovery type of one client, as the control plane sees it.</summary>
/// <param name="Rejected">Resource name and reason of what the client refuses.</param>
internal sealed record TypeSync(string TypeUrl, bool IsSynced, string NonceSent, string NonceAcked, DateTimeOffset? LastPush, IReadOnlyList<(string Name, string Reason)> Rejected)
{
    /// <summary>The short name that istioctl uses, and the control plane's metrics.</summary>
    public string ShortName => TypeUrl[(TypeUrl.LastIndexOf('/') + 1)..] switch
    {
        "istio.workload.Address" or "istio.workload.Workload" => "WDS",
        "istio.security.Authorization" => "WADS",
        _ => TypeUrl[(TypeUrl.LastIndexOf('.') + 1)..],
    };

    public string State => Rejected.Count > 0 ? $"NACK ({Rejected.Count})" : !IsSynced ? "STALE" : NonceSent.Length == 0 ? "NOT SENT" : "SYNCED";
}

/// <summary>One ztunnel and the control plane replica that serves it.</summary>
/// <param name="ControlPlane">Null: no replica has it as a client.</param>
internal sealed record ZtunnelStatus(Pod Pod, string? Version, string? ControlPlane, string? Cluster, DateTimeOffset? ConnectedAt, IReadOnlyList<TypeSync> Types)
{
    public bool IsFine => Pod.Is("Ready") && ControlPlane is not null && Types.All(t => t.IsSynced && t.Rejected.Count == 0);
}

/// <summary>One node agent, by its own status page.</summary>
internal sealed record AgentStatus(Pod Pod, string? Version, bool IsReady, long Ztunnels, int Enrolled, IReadOnlyList<(string Pod, string Reason)> NotEnrolled, DateTimeOffset? LastVerification, IReadOnlyList<string> Problems)
{
    public bool IsFine => IsReady && Ztunnels > 0 && NotEnrolled.Count == 0;
}

/// <summary>Everything <c>meshctl status</c> found out.</summary>
/// <param name="Authority">The CA in force as the control plane tells it; null when it does not.</param>
/// <param name="Problems">What could not be asked, and why.</param>
internal sealed record MeshStatus(IReadOnlyList<PartStatus> Parts, IReadOnlyList<ZtunnelStatus> Ztunnels, IReadOnlyList<AgentStatus> Agents, System.Text.Json.Nodes.JsonNode? Coverage, System.Text.Json.Nodes.JsonNode? Authority, IReadOnlyList<string> Problems)
{
    public bool IsFine => Parts.All(p => p.IsFine) && Ztunnels.All(z => z.IsFine) && Agents.All(a => a.IsFine) && Problems.Count == 0;
}
