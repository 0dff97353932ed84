using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation;

/// <summary>The network this cluster's pods are in: the label <c>topology.istio.io/network</c> of the system namespace; empty without it.</summary>
public sealed record ClusterNetwork(string Name)
{
    private const string Label = "topology.istio.io/network";

    public static ClusterNetwork Of(Namespace systemNamespace) => new(systemNamespace.Metadata.Labels.GetValueOrDefault(Label, ""));
}
