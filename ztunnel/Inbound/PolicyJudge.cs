using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.InPod;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Inbound;

/// <summary>What a verdict looked at, written down for an explanation; traffic passes none.</summary>
internal sealed class JudgementTrace
{
    /// <summary>Empty where coming through a waypoint is not required.</summary>
    public List<JudgedWaypoint> Waypoints { get; } = [];
    public List<JudgedPolicy> Policies { get; } = [];
}

/// <summary>Judges a new inbound connection by what its workload requires and says what is worth saying: a policy that is missing, what a dry run would do.</summary>
internal static class PolicyJudge
{
    /// <summary>Null when the connection is allowed.</summary>
    public static CloseReason? Judge(PodContext pod, MeshSnapshot mesh, Workload local, in ConnectionFacts facts)
    {
        var policies = Authorizer.PoliciesOf(mesh, local);
        var log = pod.PolicyLog;
        foreach (var name in policies.Missing) log.Write(LogLevel.Warning, new LogFields($"policy {name} of workload {local.Uid} is not known; it is not enforced") { Span = pod.Span });
        if (!policies.DryRun.IsEmpty) Tell(pod, policies, facts);
        return Refusal(mesh, local, policies, facts, pod.Services.Settings.RequireWaypoint);
    }

    /// <summary>Null when the connection may come in: from the workload's waypoint where <paramref name="requiresWaypoint"/> asks for that, then by its policies. Pure.</summary>
    /// <param name="policies">Those of <paramref name="local"/>.</param>
    public static CloseReason? Refusal(MeshSnapshot mesh, Workload local, EffectivePolicies policies, in ConnectionFacts facts, bool requiresWaypoint, JudgementTrace? trace = null)
    {
        if (requiresWaypoint && WaypointRequirement.Problem(mesh, local, facts.Peer, trace?.Waypoints) is { } bypassed) return bypassed;
        var verdict = Authorizer.Decide(policies, facts, trace?.Policies);
        return verdict is AuthorizationVerdict.Allowed ? null : CloseReason.Policy(verdict, PolicyDecider.Of(policies, verdict, facts));
    }

    /// <summary>As <see cref="Refusal"/>, for a connection that was let in before: why it may not go on; null when it may. Pure.</summary>
    public static CloseReason? RefusalOfOpen(MeshSnapshot mesh, Workload local, EffectivePolicies policies, in ConnectionFacts facts, bool requiresWaypoint) =>
        ((requiresWaypoint ? WaypointRequirement.ProblemOfOpen(mesh, local, facts.Peer) : null) ?? Refusal(mesh, local, policies, facts, requiresWaypoint: false)) is { } refusal
            ? CloseReason.PolicyChange(refusal.DecidedBy)
            : null;

    private static void Tell(PodContext pod, EffectivePolicies policies, in ConnectionFacts facts)
    {
        var level = pod.Services.Settings.PolicyInfoLogging ? LogLevel.Information : LogLevel.Debug;
        if (!pod.PolicyLog.IsEnabled(level)) return;
        foreach (var policy in policies.DryRun)
        {
            var outcome = policy.Matches(facts) ? "matches" : "does not match";
            pod.PolicyLog.Write(level, new LogFields("dry run", new("policy", policy.Key), new("action", policy.Action.ToString().ToLowerInvariant()), new("outcome", outcome),
                new("src.addr", facts.Source), new("src.identity", facts.Peer?.ToString()), new("dst.addr", facts.Destination))
            { Span = pod.Span });
        }
    }
}
