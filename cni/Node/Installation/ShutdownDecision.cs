using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.Cni.Node.Installation;

/// <summary>Whether an ending agent leaves the node as it is (another one comes) or cleans up (the mesh is being removed). Source: reference 9.8.</summary>
/// <param name="CleansUp">Plugin, configuration and the node's rules go; the rules inside running pods stay in any case.</param>
internal readonly record struct ShutdownDecision(bool CleansUp, string Reason)
{
    public const string DaemonSetName = "istio-cni-node";

    /// <summary>Decides from what the API server said about the agent's own DaemonSet.</summary>
    /// <param name="daemonSet">The object; null when there is none.</param>
    /// <param name="failure">Why it could not be read; null when it could.</param>
    /// <param name="nodeLabels">The node's labels; null when not known, which counts as a match.</param>
    /// <remarks>Pure.</remarks>
    public static ShutdownDecision Decide(AgentSettings settings, JsonObject? daemonSet, KubernetesException? failure, IReadOnlyDictionary<string, string>? nodeLabels)
    {
        if (settings.DisableSafeUpgrade) return new(true, "AMBIENT_DISABLE_SAFE_UPGRADE is set");
        if (failure is { IsUnauthorized: true } or { IsForbidden: true }) return new(true, "the agent's rights are gone");
        if (failure is not null)
        {
            // Without an answer the stanza that fails pods closed stays: an unprotected pod is worse than one that waits.
            return new(false, $"the agent's DaemonSet could not be asked for: {failure.Message}");
        }
        if (daemonSet is null) return new(true, "the agent's DaemonSet is gone");
        if (daemonSet["metadata"]?["deletionTimestamp"] is not null) return new(true, "the agent's DaemonSet is being deleted");
        if (nodeLabels is not null && !Selects(daemonSet, nodeLabels)) return new(true, "the agent's DaemonSet no longer selects this node");
        return new(false, "the agent's DaemonSet stays: an upgrade or a reboot");
    }

    private static bool Selects(JsonObject daemonSet, IReadOnlyDictionary<string, string> labels)
    {
        var pod = daemonSet["spec"]?["template"]?["spec"];
        if (pod?["nodeSelector"] is JsonObject wanted && wanted.Any(label => labels.GetValueOrDefault(label.Key) != (string?)label.Value)) return false;
        if (pod?["affinity"]?["nodeAffinity"]?["requiredDuringSchedulingIgnoredDuringExecution"]?["nodeSelectorTerms"] is not JsonArray terms) return true;
        return terms.Any(term => (term?["matchExpressions"] as JsonArray ?? []).All(expression => Holds(expression, labels)));
    }

    private static bool Holds(JsonNode? expression, IReadOnlyDictionary<string, string> labels)
    {
        try
        {
            var requirement = new LabelRequirement
            {
                Key = (string?)expression?["key"] ?? "",
                Operator = (string?)expression?["operator"] ?? "",
                Values = [.. (expression?["values"] as JsonArray ?? []).Select(value => (string?)value ?? "")],
            };
            return requirement.Problem() is not null || requirement.Holds(labels);   // Gt and Lt: in doubt the node is selected
        }
        catch (JsonException)
        {
            return true;
        }
    }
}
