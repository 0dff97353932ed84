using System.Globalization;
using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Serving;
using AmbientMesh.ControlPlane.Translation.Policy;
using AmbientMesh.Kubernetes;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Kubernetes;

/// <summary>Tells the authors of policies what became of them, by the status condition <see cref="PolicyVerdict.ConditionType"/>. For one replica at a time.</summary>
/// <remarks>Conditions of others are kept. A status that cannot be written is tried again; it disturbs neither the other objects nor the enforcement.</remarks>
public sealed class PolicyStatusWriting(KubernetesClient client, PolicyReports reports, ILogger log)
{
    private static readonly TimeSpan FirstRetry = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan MaxRetry = TimeSpan.FromMinutes(1);

    /// <summary>Writes until cancelled; ends with the cancellation.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        Dictionary<(ResourceType, ObjectKey), PolicyReport> written = [];   // what the watch has not yet brought back
        var retry = FirstRetry;
        while (true)
        {
            var due = reports.Due;
            var isComplete = true;
            foreach (var report in due)
            {
                if (written.TryGetValue((report.Type, report.Key), out var last) && ReferenceEquals(last, report)) continue;
                if (await TryWriteAsync(report, cancellationToken)) written[(report.Type, report.Key)] = report;
                else isComplete = false;
            }
            if (due.Count == 0) written.Clear();
            await ChangeAsync(isComplete ? Timeout.InfiniteTimeSpan : retry, cancellationToken);
            retry = isComplete ? FirstRetry : retry * 2 < MaxRetry ? retry * 2 : MaxRetry;
        }
    }

    private async Task ChangeAsync(TimeSpan limit, CancellationToken cancellationToken)
    {
        using var timer = new CancellationTokenSource(limit, client.Clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timer.Token, cancellationToken);
        try
        {
            await reports.Changed.ReadAsync(either.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            // Time to try again what failed.
        }
    }

    private async Task<bool> TryWriteAsync(PolicyReport report, CancellationToken cancellationToken)
    {
        var objects = client.Of(report.Type);
        try
        {
            if (await objects.GetAsync(report.Key.Namespace, report.Key.Name, cancellationToken) is not { } present) return true;
            if (PolicyObject.GenerationOf(present) != report.Generation) return true;   // a newer one is on its way here
            var change = new JsonObject
            {
                ["metadata"] = new JsonObject { ["resourceVersion"] = GenericObjects.VersionOf(present) },
                ["status"] = new JsonObject { ["conditions"] = Conditions(present, report, client.Clock.GetUtcNow()) },
            };
            await objects.PatchAsync(report.Key.Namespace, report.Key.Name, Patch.Merge(change), null, cancellationToken, "status");
            return true;
        }
        catch (KubernetesException e) when (e.IsConflict)
        {
            return false;   // someone else wrote in between: read again
        }
        catch (KubernetesException e)
        {
            log.LogWarning("the status of {Kind} {Object} could not be written, trying again: {Problem}", report.Type.Kind, report.Key, e.Message);
            return false;
        }
    }

    private static JsonArray Conditions(JsonObject present, PolicyReport report, DateTimeOffset now)
    {
        var status = report.Verdict.IsSent ? "True" : "False";
        var conditions = ((present["status"] as JsonObject)?["conditions"] as JsonArray)?.OfType<JsonObject>().ToList() ?? [];
        var own = conditions.Find(c => PolicyObject.TextOf(c["type"]) == PolicyVerdict.ConditionType);
        var since = own is not null && PolicyObject.TextOf(own["status"]) == status ? PolicyObject.TextOf(own["lastTransitionTime"]) : null;
        return
        [
            .. conditions.Where(c => c != own).Select(c => c.DeepClone()),
            new JsonObject
            {
                ["type"] = PolicyVerdict.ConditionType,
                ["status"] = status,
                ["reason"] = report.Verdict.Reason,
                ["message"] = report.Verdict.Message,
                ["observedGeneration"] = report.Generation,
                ["lastTransitionTime"] = since ?? now.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture),
            },
        ];
    }
}
