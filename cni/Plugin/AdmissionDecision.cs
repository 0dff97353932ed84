namespace AmbientMesh.Cni.Plugin;

/// <summary>Whether a pod may start.</summary>
/// <param name="Refusal">Why not; null when it may.</param>
internal readonly record struct AdmissionDecision(string? Refusal)
{
    public static readonly AdmissionDecision MayStart = new(null);
}

/// <summary>Decides whether a pod may start: enrolled by the agent, or surely not for the mesh. In doubt it may not.</summary>
internal static class PodAdmission
{
    /// <summary>Pods that start without anybody being asked; null when somebody has to be.</summary>
    /// <remarks>Pure. The agent and ztunnel must be able to start while there is no agent.</remarks>
    public static AdmissionDecision? WithoutAsking(PluginCall call)
    {
        if (!call.AmbientEnabled || call.PodName.Length == 0) return AdmissionDecision.MayStart;
        if (call.ExcludedNamespaces.Contains(call.PodNamespace)) return AdmissionDecision.MayStart;
        var isOurs = call.PodNamespace == call.AgentNamespace
            && (call.PodName.StartsWith("istio-cni-node-", StringComparison.Ordinal) || call.PodName.StartsWith("ztunnel-", StringComparison.Ordinal));
        return isOurs ? AdmissionDecision.MayStart : null;
    }

    /// <summary>Asks the agent, which knows the pod's labels and enrols it; without an agent asks the API server whether the pod needs one.</summary>
    public static AdmissionDecision Ask(PluginCall call)
    {
        var answer = AgentCall.Send(call);
        if (answer.Reached)
            return answer.Status == 200 ? AdmissionDecision.MayStart : new($"the node agent refused pod {call.Pod}: {answer.Text}");
        try
        {
            return ApiEligibility.IsEligible(call)
                ? new($"istio-cni cmdAdd failed to contact node Istio CNI agent: {answer.Text}; pod {call.Pod} belongs into the mesh and waits for the agent")
                : AdmissionDecision.MayStart;
        }
        catch (EligibilityUnknownException e)
        {
            return new($"istio-cni cmdAdd failed to contact node Istio CNI agent: {answer.Text}; and whether pod {call.Pod} belongs into the mesh is not known: {e.Message}");
        }
    }
}
