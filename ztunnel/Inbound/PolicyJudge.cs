using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.InPod;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Inbound;

/// <summary>Judges a new inbound connection by the workload's policies and says what is worth saying: a policy that is missing, what a dry run would do.</summary>
internal static class PolicyJudge
{
    /// <summary>Null when the connection is allowed.</summary>
    public static CloseReason? Judge(PodContext pod, MeshSnapshot mesh, Workload local, in ConnectionFacts facts)
    {
        if (pod.Services.Settings.RequireWaypoint && WaypointRequirement.Problem(mesh, local, facts.Peer) is { } bypassed) return bypassed;
        var policies = Authorizer.PoliciesOf(mesh, local);
        var log = pod.PolicyLog;
        foreach (var name in policies.Missing) log.Write(LogLevel.Warning, new LogFields($"policy {name} of workload {local.Uid} is not known; it is not enforced") { Span = pod.Span });
        if (!policies.DryRun.IsEmpty) Tell(pod, policies, facts);
        return Refusal(policies, facts);
    }

    /// <summary>Null when the policies allow the connection. Pure.</summary>
    /// <param name="judged">Told of every policy the verdict looked at; null for traffic.</param>
    public static CloseReason? Refusal(EffectivePolicies policies, in ConnectionFacts facts, List<JudgedPolicy>? judged = null)
    {
        var verdict = Authorizer.Decide(policies, facts, judged);
        return verdict is AuthorizationVerdict.Allowed ? null : CloseReason.Policy(verdict, PolicyDecider.Of(policies, verdict, facts));
    }

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
