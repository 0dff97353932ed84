using System.Net;
using AmbientMesh.Hbone;
using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Model.Explanation;
using AmbientMesh.Ztunnel.Inbound;

namespace AmbientMesh.Ztunnel.Explain;

/// <summary>Explains what happens to a connection that arrives at a pod. It asks the decisions that traffic asks and writes down what they say. Pure.</summary>
internal static class InboundExplainer
{
    /// <summary>A request within a tunnel: its authority is checked, then policy judges it with the client's identity.</summary>
    /// <param name="localAddress">The pod address the tunnel was accepted on.</param>
    public static InboundExplanation Hbone(MeshSnapshot mesh, Workload local, IPAddress localAddress, HboneAuthority authority, SpiffeId peer, IPAddress source, ExplainSettings settings)
    {
        var said = new InboundExplanation { Pod = WorkloadReport.Of(local), IsMutualTls = true, Peer = peer.ToString(), Source = source.ToString() };
        return InboundAdmission.Decide(mesh, local, localAddress, authority, settings.Inbound) switch
        {
            InboundDecision.Admitted admitted => Judged(mesh, local, admitted.Facts(peer, source), settings, said) with { Destination = admitted.Destination.ToString(), Upstream = admitted.Upstream.ToString() },
            InboundDecision.Rejected rejected => said with { Refusal = RefusalReports.Of(rejected.Reason), Resources = [.. Ends(mesh, local, source, settings.Network)] },
            _ => throw new System.Diagnostics.UnreachableException(),
        };
    }

    /// <summary>A plain connection: policy judges it without an identity.</summary>
    public static InboundExplanation Plaintext(MeshSnapshot mesh, Workload local, IPEndPoint destination, IPAddress source, ExplainSettings settings)
    {
        var said = new InboundExplanation { Pod = WorkloadReport.Of(local), Source = source.ToString(), Destination = destination.ToString(), Upstream = destination.ToString() };
        return PlaintextAdmission.Decide(destination) is { } selfCall
            ? said with { Refusal = RefusalReports.Of(selfCall), Resources = [.. Ends(mesh, local, source, settings.Network)] }
            : Judged(mesh, local, new ConnectionFacts(null, source, destination), settings, said);
    }

    private static InboundExplanation Judged(MeshSnapshot mesh, Workload local, in ConnectionFacts facts, ExplainSettings settings, InboundExplanation said)
    {
        var policies = Authorizer.PoliciesOf(mesh, local);
        var trace = new JudgementTrace();
        var refusal = PolicyJudge.Refusal(mesh, local, policies, facts, settings.RequiresWaypoint);   // by the way traffic takes
        _ = PolicyJudge.Refusal(mesh, local, policies, facts, settings.RequiresWaypoint, trace);
        var judged = trace.Policies;
        var asked = facts;
        return said with
        {
            RequiredWaypoints = [.. trace.Waypoints.Select(Report)],
            Policies =
            [
                .. judged.Select(j => Report(j.Policy, asked)),
                .. policies.Enforced.Where(p => !judged.Exists(j => ReferenceEquals(j.Policy, p))).Select(p => Report(p, asked) with { IsBeyondVerdict = true }),
                .. policies.DryRun.Select(p => Report(p, asked)),
                .. policies.Missing.Select(name => new PolicyReport { Resource = name.ToString(), Object = Decider.Of(name).ToString(), IsMissing = true }),
            ],
            Refusal = refusal is null ? null : RefusalReports.Of(refusal),
            Resources = [.. Ends(mesh, local, facts.Source, settings.Network), .. trace.Waypoints.SelectMany(w => Held(w, mesh)).DistinctBy(r => r.Name), .. policies.Enforced.Concat(policies.DryRun).DistinctBy(p => p.Key).Select(HeldResources.Of)],
        };
    }

    /// <summary>Both workloads and the services of the destination: what the source's node also decides by.</summary>
    private static IEnumerable<HeldResource> Ends(MeshSnapshot mesh, Workload local, IPAddress source, string network)
    {
        yield return HeldResources.Of(local);
        if (mesh.FindWorkload(new NetworkAddress(network, source)) is { } client && client.Uid != local.Uid) yield return HeldResources.Of(client);
        foreach (var (name, _) in local.Services)
            if (mesh.FindService(name) is { } service) yield return HeldResources.Of(service, mesh);
    }

    private static RequiredWaypoint Report(JudgedWaypoint judged) => new(judged.Reference.ToString()!, judged.BoundBy.ToString(), [.. judged.Identities.Select(i => i.ToString())], judged.IsPeer);

    private static IEnumerable<HeldResource> Held(JudgedWaypoint judged, MeshSnapshot mesh)
    {
        if (judged.Service is { } service) yield return HeldResources.Of(service, mesh);
        if (judged.Workload is { } workload) yield return HeldResources.Of(workload);
    }

    private static PolicyReport Report(AuthorizationPolicy policy, ConnectionFacts facts) => new()
    {
        Resource = policy.Key.ToString(),
        Object = Decider.Of(policy.Key).ToString(),
        Action = policy.Action.ToString().ToUpperInvariant(),
        Scope = policy.Scope.ToString(),
        IsDryRun = policy.IsDryRun,
        Matches = policy.Matches(facts),
        Rules = policy.Unreadable is { } why ? [new RuleReport($"it cannot be read ({why}) and denies everything until it can", true, null)] : [.. policy.Rules.Select(rule => Report(rule, facts))],
    };

    private static RuleReport Report(PolicyRule rule, ConnectionFacts facts)
    {
        var failing = rule.FailingClause(facts);
        return new RuleReport(PolicyText.Of(rule), failing < 0, failing < 0 ? null : PolicyText.Of(rule.Clauses[failing]));
    }
}
