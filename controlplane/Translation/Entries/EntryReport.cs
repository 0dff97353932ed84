using AmbientMesh.ControlPlane.Translation.Waypoints;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation.Entries;

/// <summary>A host of a ServiceEntry that is not its own alone.</summary>
/// <param name="Owner">Who is found instead of it.</param>
/// <param name="IsLost">The entry does not have the host at all; otherwise it stands for it in its own namespace only.</param>
internal sealed record SharedHost(string Host, ObjectOrigin Owner, bool IsLost);

/// <summary>What the authors of ServiceEntries and WorkloadEntries are told, as conditions (l7 reference 3.5; <see cref="AcceptedType"/> is our own). Pure.</summary>
internal static class EntryReport
{
    public const string AcceptedType = "ambientmesh.io/Accepted";
    public const string VisibilityType = "istio.io/VisibilityApplied";
    private const string StrategyAnnotation = "istio.io/connect-strategy";

    public static IReadOnlyCollection<string> OwnTypes { get; } = [AcceptedType, VisibilityType, WaypointReport.BoundType, WaypointReport.MissingType];

    /// <param name="visibility">Null when the mesh has no rules for it.</param>
    /// <param name="shared">Hosts others claim too.</param>
    /// <param name="network">The cluster's own.</param>
    public static IEnumerable<StatusCondition> Of(ServiceEntry entry, WaypointChoice waypoint, bool takesIngress, EntryVisibility? visibility, IReadOnlyList<SharedHost> shared, string network)
    {
        var generation = entry.Metadata.Generation ?? 0;
        var unusable = ServiceEntryTranslation.Problem(entry);
        var isServed = unusable is null && visibility != EntryVisibility.None && ServiceEntryTranslation.HostsOf(entry).Any(host => !shared.Any(s => s.IsLost && s.Host == host));
        if (isServed)
        {
            foreach (var condition in WaypointReport.Of(waypoint, generation, takesIngress)) yield return condition;
            if (waypoint is not WaypointChoice.Bound && WhyWaypointIsNeeded(entry) is var (reason, message)) yield return new StatusCondition(WaypointReport.MissingType, "True", reason, message, generation);
        }
        if (unusable is { } wrong) yield return new StatusCondition(AcceptedType, "False", wrong.Reason, $"{wrong.Message} The entry's last valid version stays in force; without one it is left out.", generation);
        if (visibility is { } applied) yield return new StatusCondition(VisibilityType, "True", applied.ToString(), MessageOf(applied), generation);
        if (unusable is null && Accepted(entry, shared, network) is var (status, why, told)) yield return new StatusCondition(AcceptedType, status, why, told, generation);
    }

    /// <param name="network">The cluster's own.</param>
    public static IEnumerable<StatusCondition> Of(WorkloadEntry entry, WaypointChoice waypoint, string network)
    {
        var generation = entry.Metadata.Generation ?? 0;
        foreach (var condition in WaypointReport.Of(waypoint, generation)) yield return condition;
        if (!WorkloadEntryTranslation.IsReachable(entry.Spec))
            yield return new StatusCondition(AcceptedType, "False", "UnsupportedAddress", $"The address '{entry.Spec.Address}' cannot be reached by the mesh; give an IP address or a DNS name.", generation);
        else if (entry.Spec.Network is { Length: > 0 } other && other != network)
            yield return new StatusCondition(AcceptedType, "False", "NoNetworkGateway", $"The workload is on network '{other}', the cluster on '{network}', and no gateway joins them: connections to it are refused. Remove spec.network if it is reached directly.", generation);
    }

    private static (string Reason, string Message)? WhyWaypointIsNeeded(ServiceEntry entry)
    {
        if (string.Equals(entry.Metadata.Annotations.GetValueOrDefault(StrategyAnnotation), "RACE_FIRST_TCP_CONNECT", StringComparison.OrdinalIgnoreCase))
            return ("NoWaypointForRacingConnectStrategy", "The connect strategy RACE_FIRST_TCP_CONNECT is carried out by a waypoint, and the entry has none: the default strategy is used.");
        return ServiceEntryTranslation.IsByName(entry) && ServiceEntryTranslation.HostsOf(entry).FirstOrDefault(ServiceEntryTranslation.IsWildcard) is { } wildcard
            ? ("NoWaypointForWildcardService", $"What stands for '{wildcard}' is found out by a waypoint, and the entry has none: that host is inactive.")
            : null;
    }

    private static string MessageOf(EntryVisibility visibility) => visibility switch
    {
        EntryVisibility.Public => "Found by clients of every namespace.",
        EntryVisibility.Namespace => "Found by clients of its own namespace only, as the mesh configuration wants it.",
        _ => "Found by nobody: the mesh configuration does not admit entries of this namespace.",
    };

    private static (string Status, string Reason, string Message)? Accepted(ServiceEntry entry, IReadOnlyList<SharedHost> shared, string network)
    {
        var lost = shared.Where(s => s.IsLost).Select(s => $"{s.Host} belongs to {s.Owner.Type.Kind} {s.Owner.Key}").ToList();
        if (lost.Count > 0) return ("False", "HostConflict", $"Left out with its endpoints, since one namespace has a host once: {string.Join("; ", lost)}. Rename the host or remove one of the objects.");
        if (entry.Spec.Resolution is "STATIC" or "DNS_ROUND_ROBIN" or "DNS" && entry.Spec.Endpoints?.Any(e => !WorkloadEntryTranslation.IsReachable(e)) == true)
            return ("False", "UnsupportedAddress", "Endpoints without an address or with a unix:// address cannot be reached by the mesh and are left out.");
        if (entry.Spec.Endpoints?.FirstOrDefault(e => e.Network is { Length: > 0 } other && other != network) is { } far)
            return ("False", "NoNetworkGateway", $"The endpoint {far.Address} is on network '{far.Network}', the cluster on '{network}', and no gateway joins them: connections to it are refused. Remove its network if it is reached directly.");
        var elsewhere = shared.Select(s => $"{s.Host} ({s.Owner.Type.Kind} {s.Owner.Key})").ToList();
        return elsewhere.Count > 0 ? ("True", "SharedHost", $"Clients of other namespaces are led elsewhere: {string.Join("; ", elsewhere)}.") : null;
    }
}
