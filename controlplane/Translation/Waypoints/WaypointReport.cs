namespace AmbientMesh.ControlPlane.Translation.Waypoints;

/// <summary>A choice of waypoint as the object's condition <c>istio.io/WaypointBound</c> says it (l7 reference 3.5). Pure.</summary>
internal static class WaypointReport
{
    public const string BoundType = "istio.io/WaypointBound";
    public const string MissingType = "istio.io/WaypointMissing";

    /// <summary>None when no waypoint is asked for.</summary>
    /// <param name="takesIngress">For services: what the object or its namespace says about ingress; null for workloads.</param>
    public static IEnumerable<StatusCondition> Of(WaypointChoice choice, long generation, bool? takesIngress = null) => choice switch
    {
        WaypointChoice.Bound { Waypoint: var waypoint, Note: var note } => [new StatusCondition(BoundType, "True", "WaypointAccepted", string.Join(" ", Parts(waypoint, takesIngress, note)), generation)],
        WaypointChoice.Refused refused => [new StatusCondition(BoundType, "False", refused.Reason, refused.Message, generation)],
        _ => [],
    };

    private static IEnumerable<string> Parts(Waypoint waypoint, bool? takesIngress, string note)
    {
        yield return $"Attached to waypoint {waypoint}.";
        if (takesIngress == true) yield return "Ingress traffic goes through it.";
        if (takesIngress == false) yield return "Ingress traffic does not go through it; the label istio.io/ingress-use-waypoint with the value true changes that.";
        if (note.Length > 0) yield return note;
    }
}
