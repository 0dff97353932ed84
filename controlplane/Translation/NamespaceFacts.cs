using AmbientMesh.ControlPlane.Translation.Waypoints;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation;

/// <summary>What a namespace says for the objects in it; equal by content, so that nothing else of a namespace moves them.</summary>
/// <param name="Waypoint">Its waypoint labels.</param>
/// <param name="Distribution">Its annotation <c>networking.istio.io/traffic-distribution</c>; empty without it.</param>
internal sealed record NamespaceFacts(WaypointLabels Waypoint, string Distribution)
{
    public static NamespaceFacts None { get; } = new(WaypointLabels.None, "");

    public static NamespaceFacts Of(Namespace ns) =>
        new(WaypointLabels.Of(ns.Metadata.Labels, ns.Metadata.Annotations), ns.Metadata.Annotations.GetValueOrDefault(LoadBalancingChoice.DistributionAnnotation, ""));
}
