using AmbientMesh.Model;
using AmbientMesh.Model.Explanation;

namespace AmbientMesh.Cli.Explain;

/// <summary>Puts the two halves of one way together, in the order in which the data plane meets the obstacles. Pure.</summary>
internal static class BranchJudgement
{
    public const string AtSource = "source ztunnel", AtDestination = "destination ztunnel", Nowhere = "nobody";

    /// <param name="isSourceCaptured">The source's ztunnel carries it; otherwise it leaves the pod as it is.</param>
    /// <param name="isDestinationCaptured">The destination's ztunnel receives it; null where there is no pod to look at.</param>
    /// <param name="inbound">What the destination's ztunnel says; null when it was not or could not be asked.</param>
    /// <param name="isDestinationGone">The pod that the source's ztunnel knows there does not exist any more.</param>
    public static Outcome Judge(OutboundExplanation outbound, RouteReport route, bool isSourceCaptured, bool? isDestinationCaptured, InboundExplanation? inbound, bool isDestinationGone = false)
    {
        if (isSourceCaptured && outbound.ServedAs != "Up")
            return Outcome.Refused(AtSource, Reason.ConnectRefused, "the pod is redirected to a ztunnel that does not serve it: nothing listens, and nothing leaves in plaintext", new Decider("Pod", $"{outbound.Source?.Namespace}/{outbound.Source?.Name}"));
        if (route.Refusal is { } refused) return new Outcome(false, AtSource, refused.Reason, refused.Text, refused.DecidedBy, Searched(outbound));
        if (route.Kind == RouteKind.Hbone && outbound.Certificate is { IsValid: false, Problem: { } problem })
            return Outcome.Refused(AtSource, Reason.IdentityUnavailable, $"identity error: {problem}", new Decider("Peer", outbound.Certificate.Identity));
        if (route.IsThroughWaypoint) return Outcome.Unknown(AtSource, $"it goes to the waypoint {route.Peer?.Namespace}/{route.Peer?.Name}, which decides further");
        if (route.Peer is null && outbound is { AsksOnDemand: true, Service: null, Workload: null })
            return Outcome.Unknown(AtSource, "this ztunnel asks the control plane for an address when a connection needs it, and does not know this one yet; ask again after a connection was made");
        if (route.Peer is null) return Outcome.Allowed(isSourceCaptured ? AtSource : Nowhere, "the destination is outside the mesh: it is reached in plaintext and nobody judges it");
        if (route.Kind != RouteKind.Hbone && isDestinationGone) return Outcome.Unknown(Nowhere, $"the pod at {route.NextHop} does not exist any more, and the source's ztunnel does not know that yet: who has the address now, if anyone, is not known");
        return route.Kind == RouteKind.Hbone ? Tunnelled(route, inbound) : Plain(isDestinationCaptured, inbound);
    }

    private static Outcome Tunnelled(RouteReport route, InboundExplanation? inbound)
    {
        if (inbound is null) return Outcome.Unknown(AtDestination, "the destination's ztunnel could not be asked");
        if (inbound.ServedAs != "Up")
            return Outcome.Refused(AtDestination, Reason.ConnectRefused, $"no ztunnel listens on {route.NextHop}: the destination's ztunnel does not serve the pod", new Decider("Pod", $"{inbound.Pod?.Namespace}/{inbound.Pod?.Name}"));
        if (inbound.Certificate is { IsValid: false, Problem: { } problem }) return Outcome.Refused(AtDestination, Reason.TlsHandshake, $"the destination has no certificate to show: {problem}", new Decider("Peer", inbound.Certificate.Identity));
        if (inbound.Pod is { } pod && !route.ExpectedIdentities.Contains(pod.Identity))
            return Outcome.Refused(AtSource, Reason.PeerNotTrusted, $"the destination proves to be {pod.Identity}, expected is {string.Join(" or ", route.ExpectedIdentities)}", new Decider("Peer", pod.Identity));
        return Policy(inbound, "let in through mutual TLS");
    }

    private static Outcome Plain(bool? isDestinationCaptured, InboundExplanation? inbound)
    {
        if (isDestinationCaptured != true) return Outcome.Allowed(Nowhere, "plain TCP to a pod that is not enrolled: no policy of the mesh applies");
        if (inbound is null) return Outcome.Unknown(AtDestination, "the destination's ztunnel could not be asked");
        return inbound.ServedAs == "Up"
            ? Policy(inbound, "let in as plaintext, without an identity")
            : Outcome.Refused(AtDestination, Reason.ConnectRefused, "the destination is redirected to a ztunnel that does not serve it", new Decider("Pod", $"{inbound.Pod?.Namespace}/{inbound.Pod?.Name}"));
    }

    private static Outcome Policy(InboundExplanation inbound, string letIn)
    {
        var enforced = inbound.Policies.Where(p => p is { IsDryRun: false, IsMissing: false }).ToList();
        if (inbound.Refusal is not { } refusal)
        {
            var allowing = enforced.FirstOrDefault(p => p is { Action: "ALLOW", Matches: true });
            return Outcome.Allowed(AtDestination, allowing is null ? $"{letIn}; no ALLOW policy applies to the pod" : $"{letIn}; allowed by {allowing.Object}") with { Resources = allowing is null ? [] : [allowing.Resource] };
        }
        if (inbound.MissesItsWaypoint) return new Outcome(false, AtDestination, refusal.Reason, refusal.Text, refusal.DecidedBy, inbound.Pod is { } bound ? [bound.Uid] : []);
        var deciding = refusal.Reason == Reason.PolicyDenied.Word() ? enforced.Where(p => p is { Action: "DENY", Matches: true, IsBeyondVerdict: false }) : enforced.Where(p => p.Action == "ALLOW");
        return new Outcome(false, AtDestination, refusal.Reason, refusal.Text, refusal.DecidedBy, [.. deciding.Select(p => p.Resource)]);
    }

    private static IReadOnlyList<string> Searched(OutboundExplanation outbound) => outbound.Service is { } service ? [service.Resource] : outbound.Workload is { } workload ? [workload.Uid] : [];
}
