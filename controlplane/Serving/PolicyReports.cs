using AmbientMesh.ControlPlane.Collections;
using AmbientMesh.ControlPlane.Translation.Policy;
using AmbientMesh.Kubernetes;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Serving;

/// <summary>Logs and counts what becomes of policy objects, as it changes.</summary>
public sealed class PolicyReports
{
    private readonly ControlPlaneMetrics _metrics;
    private readonly ILogger _log;

    public PolicyReports(PolicyCollections policies, ControlPlaneMetrics metrics, ILogger log)
    {
        (_metrics, _log) = (metrics, log);
        policies.AuthorizationPolicyReports.Subscribe(Take);
        policies.PeerAuthenticationReports.Subscribe(Take);
    }

    private void Take(IReadOnlyList<Change<ObjectKey, PolicyReport>> changes)
    {
        foreach (var (_, old, now) in changes)
        {
            if (old is not null) _metrics.Policies(old.Type.Kind, old.Verdict.Outcome, -1);
            if (now is null) continue;
            _metrics.Policies(now.Type.Kind, now.Verdict.Outcome, +1);
            if (now.Verdict != (old?.Verdict ?? PolicyVerdict.Enforced)) Log(now);
        }
    }

    private void Log(PolicyReport report) => _log.Log(
        report.Verdict.Outcome == PolicyVerdict.Enforced.Outcome ? LogLevel.Information : LogLevel.Warning,
        "{Kind} {Object}: {Reason}: {Message}", report.Type.Kind, report.Key, report.Verdict.Reason, report.Verdict.Message);
}
