using System.Text.Json.Nodes;
using AmbientMesh.Cli.Output;
using AmbientMesh.Cli.Reaching;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.Cli.Explain;

/// <summary>Whether a pod's traffic is redirected to its node's ztunnel, and how that is known.</summary>
/// <param name="Facts">What was found, in words, the most telling first.</param>
/// <param name="Problem">Where it should be captured and is not wholly; null when all agrees.</param>
internal sealed record PodCapture(bool IsCaptured, IReadOnlyList<string> Facts, string? Problem);

/// <summary>Judges capture by what the pod, its namespace and the node agent say. Pure.</summary>
internal static class CaptureJudgement
{
    private const string Redirection = "ambient.istio.io/redirection", Mode = "istio.io/dataplane-mode", Sidecar = "sidecar.istio.io/status";

    /// <param name="agent">The node agent's /status; null when it could not be asked.</param>
    public static PodCapture Of(Pod pod, Namespace? ns, JsonNode? agent, DateTimeOffset now)
    {
        var annotation = pod.Metadata.Annotations.GetValueOrDefault(Redirection);
        var facts = new List<string>();
        if (pod.Spec.HostNetwork == true) return new PodCapture(false, ["it shares the node's network, which is never redirected"], null);
        if (pod.Metadata.Annotations.ContainsKey(Sidecar)) facts.Add($"it has a sidecar (annotation {Sidecar})");
        var wants = Wants(pod, ns, facts);
        facts.Insert(0, annotation is null ? $"it has no annotation {Redirection}" : $"annotation {Redirection} is {annotation}");
        if (Entry(agent, "enrolled", pod) is { } enrolled)
        {
            var verified = agent.Time("lastVerification") is { } at ? $", verified {Ages.Of(now - at)} ago" : "";
            var isComplete = enrolled.Flag("complete");
            facts.Insert(0, $"the node agent redirects it{verified}");
            return new PodCapture(true, facts, isComplete ? null : "the node agent says that its redirection is not complete");
        }
        if (Entry(agent, "notEnrolled", pod) is { } refused) return new PodCapture(annotation == "enabled", facts, $"it should be enrolled and is not: {refused["reason"]}");
        var isEnabled = annotation == "enabled";
        if (agent is null)
        {
            facts.Add("the node agent could not be asked");
            // Redirected before ztunnel carries it, or about to leave: in doubt it is closed, not open.
            if (annotation == "pending") return new PodCapture(true, facts, "it is being enrolled or leaves, and how far that is only the node agent knows");
        }
        else if (isEnabled) return new PodCapture(true, facts, "the node agent does not list it");
        return new PodCapture(isEnabled, facts, !isEnabled && wants && agent is not null ? "its labels ask for the mesh, but the node agent does not list it" : null);
    }

    private static bool Wants(Pod pod, Namespace? ns, List<string> facts)
    {
        if (pod.Metadata.Labels.TryGetValue(Mode, out var own))
        {
            facts.Add($"its label {Mode} is {own}");
            return own == "ambient";
        }
        if (ns?.Metadata.Labels.TryGetValue(Mode, out var shared) == true)
        {
            facts.Add($"its namespace's label {Mode} is {shared}");
            return shared == "ambient";
        }
        facts.Add($"neither it nor its namespace has the label {Mode}");
        return false;
    }

    private static JsonObject? Entry(JsonNode? agent, string list, Pod pod) => agent.Objects(list).FirstOrDefault(e => e.Text("uid") == pod.Metadata.Uid);
}
