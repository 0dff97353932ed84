using AmbientMesh.Kubernetes;
using AmbientMesh.Telemetry.Coverage;

namespace AmbientMesh.ControlPlane.Coverage;

/// <summary>What is known from a node's agent.</summary>
/// <param name="State">One of <see cref="PartStates"/>.</param>
/// <param name="Pods">Its last report, by pod uid; null when it never gave one.</param>
/// <param name="ReportedAt">When it gave that.</param>
internal sealed record AgentKnowledge(string State, IReadOnlyDictionary<string, PodCoverage>? Pods, DateTimeOffset? ReportedAt);

/// <summary>The states of <see cref="PartState.State"/>.</summary>
internal static class PartStates
{
    public const string Fresh = "fresh";
    public const string Stale = "stale";
    public const string Unreachable = "unreachable";
    public const string Silent = "silent";
    public const string Missing = "missing";

    public static IReadOnlyList<string> All { get; } = [Fresh, Stale, Unreachable, Silent, Missing];
}

/// <summary>Whether a pod is protected, from the pod itself and from what its node's agent says. Pure.</summary>
/// <remarks>An agent's word counts, since only it looks into the kernel; without one, the pod's and namespace's labels (Istio's default selectors) and the agent's annotation do.</remarks>
internal static class PodProtection
{
    public const string Outside = "outside";
    private const string ModeLabel = "istio.io/dataplane-mode";
    private const string RedirectionAnnotation = "ambient.istio.io/redirection";
    private const string SidecarAnnotation = "sidecar.istio.io/status";

    public static PodCoverage Judge(Pod pod, Namespace? ns, string systemNamespace, AgentKnowledge agent)
    {
        if (agent.Pods?.GetValueOrDefault(pod.Metadata.Uid ?? "") is { } told)
            return told.State == PodStates.Verified && agent.State != PartStates.Fresh ? told with { State = PodStates.Enrolled } : told;   // verified once, not now
        // A pod the agent's report could have had: it sees selectors that we do not.
        if (agent.Pods is not null && agent.State == PartStates.Fresh && agent.ReportedAt - pod.Metadata.CreationTimestamp > TimeSpan.FromSeconds(1)) return As(pod, Outside);
        return ByLabels(pod, ns, systemNamespace, agent);
    }

    private static PodCoverage ByLabels(Pod pod, Namespace? ns, string systemNamespace, AgentKnowledge agent)
    {
        var own = pod.Metadata.Labels.GetValueOrDefault(ModeLabel);
        var isAmbient = ns?.Metadata.Labels.GetValueOrDefault(ModeLabel) == "ambient";
        if (own == "none" && isAmbient) return Exempted(pod, Exemption.OptedOut);
        if (own != "ambient" && !isAmbient || own == "none") return As(pod, Outside);
        if (pod.Namespace == systemNamespace || pod.Namespace == "kube-system") return Exempted(pod, Exemption.ExcludedNamespace);
        if (pod.Spec.HostNetwork == true) return Exempted(pod, Exemption.HostNetwork);
        if (pod.Metadata.Annotations.ContainsKey(SidecarAnnotation)) return Exempted(pod, Exemption.Sidecar);
        return pod.Metadata.Annotations.GetValueOrDefault(RedirectionAnnotation) switch
        {
            "enabled" => As(pod, PodStates.Enrolled),
            "pending" => Gap(pod, ProtectionGap.NotAcknowledged, "its annotation says pending: it is redirected, and ztunnel does not carry it yet"),
            _ when string.IsNullOrEmpty(pod.Status.PodIP) || pod.Status.Phase is null or "Pending" => As(pod, PodStates.Starting),
            _ => agent.State switch
            {
                PartStates.Missing => Gap(pod, ProtectionGap.NoNodeAgent, $"no istio-cni-node pod runs on node {pod.Spec.NodeName}"),
                PartStates.Unreachable or PartStates.Stale => Gap(pod, ProtectionGap.NodeAgentSilent, $"the agent of node {pod.Spec.NodeName} does not answer"),
                _ => Gap(pod, ProtectionGap.NotEnrolled, "it has no annotation of the node agent"),
            },
        };
    }

    private static PodCoverage As(Pod pod, string state) => new() { Pod = pod.Key.ToString(), Uid = pod.Metadata.Uid ?? "", State = state };

    private static PodCoverage Exempted(Pod pod, Exemption why) => As(pod, PodStates.Exempt) with { Reason = why.Word() };

    private static PodCoverage Gap(Pod pod, ProtectionGap gap, string message) => As(pod, PodStates.Gap) with { Reason = gap.Word(), Message = message, Since = pod.Status.StartTime };
}
