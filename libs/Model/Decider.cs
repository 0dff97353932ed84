namespace AmbientMesh.Model;

/// <summary>The object that decided about a connection, as <c>decided_by</c> names it: <c>AuthorizationPolicy default/deny-all rule 0</c>.</summary>
/// <param name="Kind">A Kubernetes kind, or <c>Peer</c> (a SPIFFE id), <c>Address</c>, <c>Setting</c>.</param>
/// <param name="Name"><c>namespace/name</c>, or the name alone where there is no namespace.</param>
/// <param name="Detail">Which part of it, e.g. <c>rule 0</c>; null when the whole object decided.</param>
public sealed record Decider(string Kind, string Name, string? Detail = null)
{
    private const string ConvertedPeerAuthentication = "converted_peer_authentication_";
    private const string StaticStrict = "istio_converted_static_strict";
    private const string AllowedWaypoint = "istio_allow_waypoint_";

    /// <summary>The user's object behind a policy of the wire; the control plane writes those of PeerAuthentications and waypoints under names no object can have.</summary>
    /// <param name="rule">Index of the rule that matched; null when none did.</param>
    public static Decider Of(PolicyName policy, int? rule = null)
    {
        var detail = rule is { } index ? $"rule {index}" : null;
        if (policy.Name == StaticStrict) return new Decider("PeerAuthentication", policy.Namespace, "mode STRICT");
        if (policy.Name.StartsWith(AllowedWaypoint, StringComparison.Ordinal) && policy.Name[AllowedWaypoint.Length..].Split('_') is [var ns, var gateway])
            return new Decider("Gateway", $"{ns}/{gateway}", "allowed as waypoint");
        return policy.Name.StartsWith(ConvertedPeerAuthentication, StringComparison.Ordinal)
            ? new Decider("PeerAuthentication", $"{policy.Namespace}/{policy.Name[ConvertedPeerAuthentication.Length..]}", detail)
            : new Decider("AuthorizationPolicy", policy.ToString(), detail);
    }

    public static Decider Of(Workload workload) => new("Workload", $"{workload.Namespace}/{workload.Name}");
    public static Decider Of(MeshService service) => new("Service", $"{service.Namespace}/{(service.Name.Length > 0 ? service.Name : service.Hostname)}");
    public static Decider Of(WorkloadInfo pod) => new("Pod", $"{pod.Namespace}/{pod.Name}");
    public static Decider OfPeer(SpiffeId peer) => new("Peer", peer.ToString());

    public override string ToString() => Detail is null ? $"{Kind} {Name}" : $"{Kind} {Name} {Detail}";
}
