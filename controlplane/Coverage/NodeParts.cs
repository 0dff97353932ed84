using System.Globalization;
using System.Net;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Coverage;

/// <summary>What kind of part runs on each node.</summary>
internal enum NodePartKind { Agent, Ztunnel }

/// <summary>A node agent or ztunnel that can be asked.</summary>
/// <param name="Address">Where its figures are.</param>
internal sealed record NodePart(NodePartKind Kind, string Uid, ObjectKey Pod, string Node, Uri Address, DateTimeOffset? StartedAt);

/// <summary>Finds the parts among the pods by the labels of both Istio's manifests and ours. Pure.</summary>
internal static class NodeParts
{
    private const string PortAnnotation = "prometheus.io/port";
    private const int AgentStatusPort = 8000;
    private const int ZtunnelStatsPort = 15020;

    /// <summary>Those that have an address and have not ended; only the system namespace's and kube-system's are believed.</summary>
    public static IEnumerable<NodePart> Of(IEnumerable<Pod> pods, string systemNamespace)
    {
        foreach (var pod in pods)
        {
            if (pod.Namespace != systemNamespace && pod.Namespace != "kube-system") continue;
            if (KindOf(pod) is not { } kind || pod.Status.Phase is "Succeeded" or "Failed" || pod.Spec.NodeName is not { Length: > 0 } node) continue;
            if (!IPAddress.TryParse(pod.Status.PodIP, out var ip)) continue;
            var port = kind == NodePartKind.Agent ? AgentStatusPort : StatsPort(pod);
            var address = new UriBuilder("http", ip.ToString(), port, kind == NodePartKind.Agent ? "/debug/coverage" : "/stats/prometheus").Uri;
            yield return new NodePart(kind, pod.Metadata.Uid ?? "", pod.Key, node, address, pod.Status.StartTime);
        }
    }

    private static NodePartKind? KindOf(Pod pod) =>
        pod.Metadata.Labels.GetValueOrDefault("k8s-app") == "istio-cni-node" ? NodePartKind.Agent
        : pod.Metadata.Labels.GetValueOrDefault("app") == "ztunnel" ? NodePartKind.Ztunnel
        : null;

    private static int StatsPort(Pod pod) =>
        int.TryParse(pod.Metadata.Annotations.GetValueOrDefault(PortAnnotation), NumberStyles.None, CultureInfo.InvariantCulture, out var port) && port is > 0 and < 65536 ? port : ZtunnelStatsPort;
}
