using System.Collections.Concurrent;
using System.Threading.Channels;
using AmbientMesh.ControlPlane.Collections;
using AmbientMesh.ControlPlane.Translation.Policy;
using AmbientMesh.Kubernetes;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Serving;

/// <summary>What became of every policy object: logged and counted as it changes, and held for whoever writes it to the objects. Reading is thread-safe.</summary>
public sealed class PolicyReports
{
    private readonly ConcurrentDictionary<(ResourceType Type, ObjectKey Key), PolicyReport> _current = new();
    private readonly Channel<bool> _changed = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly ControlPlaneMetrics _metrics;
    private readonly ILogger _log;

    public PolicyReports(PolicyCollections policies, ControlPlaneMetrics metrics, ILogger log)
    {
        (_metrics, _log) = (metrics, log);
        policies.AuthorizationPolicyReports.Subscribe(Take);
        policies.PeerAuthenticationReports.Subscribe(Take);
    }

    /// <summary>The reports that their objects do not show yet.</summary>
    public IReadOnlyList<PolicyReport> Due => [.. _current.Values.Where(report => report.IsDue)];

    /// <summary>Gets an item when reports have changed since the last one was read; one reader at a time.</summary>
    public ChannelReader<bool> Changed => _changed.Reader;

    private void Take(IReadOnlyList<Change<ObjectKey, PolicyReport>> changes)
    {
        foreach (var (key, old, now) in changes)
        {
            if (old is not null) _metrics.Policies(old.Type.Kind, old.Verdict.Outcome, -1);
            if (now is not null) _metrics.Policies(now.Type.Kind, now.Verdict.Outcome, +1);
            if (now is null) _current.TryRemove((old!.Type, key), out _);
            else _current[(now.Type, key)] = now;
            if (now is not null && now.Verdict != (old?.Verdict ?? PolicyVerdict.Enforced)) Log(now);
        }
        _changed.Writer.TryWrite(true);
    }

    private void Log(PolicyReport report) => _log.Log(
        report.Verdict == PolicyVerdict.Enforced ? LogLevel.Information : LogLevel.Warning,
        "{Kind} {Object}: {Reason}: {Message}", report.Type.Kind, report.Key, report.Verdict.Reason, report.Verdict.Message);
}
