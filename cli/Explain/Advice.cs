using AmbientMesh.Model;
using AmbientMesh.Model.Explanation;

namespace AmbientMesh.Cli.Explain;

/// <summary>Says what would change an outcome: one or two sentences that name the object and the field.</summary>
internal static class Advice
{
    public static string? For(PathExplanation path)
    {
        if (Reasons.Parse(path.Outcome.Reason) is not { } reason) return null;
        var branch = path.Branches.FirstOrDefault(b => b.Outcome.Reason == path.Outcome.Reason);
        return For(reason, path.Outcome, branch?.Inbound, path);
    }

    private static string For(Reason reason, Outcome outcome, InboundExplanation? inbound, PathExplanation path) => reason switch
    {
        Reason.PolicyDenied when inbound is { IsMutualTls: false } && outcome.DecidedBy?.Kind == "PeerAuthentication" =>
            $"Enrol the client: label its namespace istio.io/dataplane-mode=ambient, then it arrives with mutual TLS. Or let plaintext in: mode PERMISSIVE in {outcome.DecidedBy}.",
        Reason.PolicyDenied => $"Change or delete {outcome.DecidedBy}, or connect in a way that its rule does not match.",
        Reason.PolicyNotAllowed when inbound is { MissesItsWaypoint: true } => ThroughWaypoint(inbound),
        Reason.PolicyNotAllowed when outcome.DecidedBy is { Kind: "Gateway" } waypoint =>
            $"Come through the waypoint {waypoint.Name}: connect from an enrolled pod to what is bound to it; or add an ALLOW policy for the client. The control plane allows the waypoint by itself (PILOT_AUTO_ALLOW_WAYPOINT_POLICY).",
        Reason.PolicyNotAllowed when inbound is { Peer: null } => $"Allow policies ask for an identity and a plain connection has none: enrol the client, or add a rule without a source identity to {outcome.DecidedBy}.",
        Reason.PolicyNotAllowed => $"Add a rule that matches principal {inbound?.Peer?.Replace(SpiffeId.Scheme, "", StringComparison.Ordinal)} and port {PortOf(inbound?.Destination)} to {outcome.DecidedBy}, or a further ALLOW policy for the pod.",
        Reason.NoHealthyUpstream => Endpoints(path),
        Reason.UnknownWaypoint => $"Create the waypoint that {outcome.DecidedBy} names, or remove the label istio.io/use-waypoint; without it traffic is not let around it.",
        Reason.IdentityUnavailable => "See why the certificate authority refused: log of istiod, which names the reason that the caller is not told; istiod must be ready and the pod must run on that node.",
        Reason.ConnectRefused => "Look at the ztunnel of that node (meshctl status) and at its log: it must be ready and have taken the pod over from the node agent.",
        Reason.PeerNotTrusted => "The pod behind the address has changed, or one node is behind: try again, then see meshctl status.",
        Reason.UnknownHostname or Reason.UnresolvedPort => "Declare the port in the service, or ask for one that it declares.",
        Reason.AddressMismatch => "The address belongs to another pod by now: one node is behind; see meshctl status.",
        Reason.SelfCall => "Ports 15001, 15006, 15008 and 15053 are ztunnel's own; ask for the application's port.",
        Reason.NoAddress => "The workload has no address of the family asked for; ask for the other, or make the service dual-stack.",
        Reason.NoRoute or Reason.RemoteNetwork or Reason.UnknownGateway => "The destination is on another network; it needs a network gateway there and a service that is exported.",
        _ => $"docs/observe.md says what to do about {reason.Word()}.",
    };

    private static string ThroughWaypoint(InboundExplanation inbound) => inbound.RequiredWaypoints.All(w => w.Identities.Count == 0)
        ? $"Create the waypoint {inbound.RequiredWaypoints[0].Waypoint}, or take the label istio.io/use-waypoint from what is bound to it."
        : $"Connect from an enrolled pod to the address that is bound to the waypoint ({inbound.RequiredWaypoints[0].BoundBy}), so that its ztunnel goes through it; or set REQUIRE_WAYPOINT=false in ztunnel's environment.";

    private static string Endpoints(PathExplanation path)
    {
        var searched = path.Outbound.Searches.LastOrDefault();
        if (searched is null) return "Give the service endpoints: pods its selector matches, ready, with the port it targets.";
        var service = $"{searched.Service.Namespace}/{searched.Service.Name}";
        if (searched.Endpoints.Count == 0) return $"Service {service} has no endpoint: no ready pod matches its selector (kubectl get endpointslices -n {searched.Service.Namespace} -l kubernetes.io/service-name={searched.Service.Name}).";
        var why = searched.Endpoints.CountBy(e => e.Why).OrderByDescending(w => w.Value).Select(w => $"{w.Value} of {searched.Endpoints.Count}: {w.Key}");
        return $"No endpoint of service {service} can be used for port {searched.Port}: {string.Join("; ", why)}.";
    }

    private static string PortOf(string? address) => address is null ? "?" : address[(address.LastIndexOf(':') + 1)..];
}
