using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation;

/// <summary>Whether a node may take pods of the mesh: the taint <c>cni.istio.io/not-ready</c> goes once the CNI agent on it is ready (reference 9.10). Pure; nothing here ever taints.</summary>
internal static class NodeUntaint
{
    public const string Taint = "cni.istio.io/not-ready";
    private const string AgentLabel = "k8s-app";
    private const string AgentName = "istio-cni-node";

    /// <summary>The node whose pods are enrolled by this pod, when it is a CNI agent that is ready; otherwise null.</summary>
    /// <param name="systemNamespace">Where agents are: a pod elsewhere with their label proves nothing.</param>
    public static string? ReadyNodeOf(Pod pod, string systemNamespace) =>
        pod.Namespace == systemNamespace && pod.Metadata.Labels.GetValueOrDefault(AgentLabel) == AgentName && pod.Metadata.DeletionTimestamp is null && pod.Is("Ready") ? pod.Spec.NodeName : null;

    public static bool IsTainted(Node node) => node.Spec.Taints.Any(t => t.Key == Taint);
}
