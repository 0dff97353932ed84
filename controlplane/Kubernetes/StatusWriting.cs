using System.Globalization;
using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Serving;
using AmbientMesh.ControlPlane.Translation;
using AmbientMesh.ControlPlane.Translation.Policy;
using AmbientMesh.Kubernetes;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Kubernetes;

/// <summary>Tells the authors of objects what became of them, by conditions written with server-side apply, each under its field manager (l7 reference 3.5). For one replica at a time.</summary>
/// <remarks>Conditions of others are kept. A status that cannot be written is tried again; it disturbs neither the other objects nor the enforcement.</remarks>
public sealed class StatusWriting(KubernetesClient client, StatusReports reports, ILogger log)
{
    private const int Writers = 8;
    private static readonly TimeSpan FirstRetry = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan MaxRetry = TimeSpan.FromMinutes(1);

    /// <summary>Writes until cancelled; ends with the cancellation.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        Dictionary<(ResourceType, ObjectKey), StatusReport> written = [];   // what the watch has not yet brought back
        var retry = FirstRetry;
        while (true)
        {
            var due = reports.Due;
            var fresh = due.Where(r => !written.TryGetValue((r.Type, r.Key), out var last) || !last.Equals(r)).ToList();
            var outcomes = new bool[fresh.Count];
            await Parallel.ForEachAsync(
                Enumerable.Range(0, fresh.Count), new ParallelOptions { MaxDegreeOfParallelism = Writers, CancellationToken = cancellationToken },
                async (i, token) => outcomes[i] = await TryWriteAsync(fresh[i], token));
            foreach (var settled in written.Keys.Except(due.Select(r => (r.Type, r.Key))).ToList()) written.Remove(settled);
            for (var i = 0; i < fresh.Count; i++)
                if (outcomes[i]) written[(fresh[i].Type, fresh[i].Key)] = fresh[i];
            var isComplete = Array.TrueForAll(outcomes, done => done);
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

    private async Task<bool> TryWriteAsync(StatusReport report, CancellationToken cancellationToken)
    {
        var objects = client.Of(report.Type);
        try
        {
            if (await objects.GetAsync(report.Key.Namespace, report.Key.Name, cancellationToken) is not { } present) return true;
            if (PolicyObject.GenerationOf(present) != report.Generation || PolicyObject.UidOf(present) != report.Uid) return true;   // a newer one is on its way here
            await objects.ApplyAsync(Wanted(present, report, client.Clock.GetUtcNow()), new WriteOptions { FieldManager = report.Manager, Force = true }, cancellationToken, "status");
            return true;
        }
        catch (KubernetesException e) when (e.IsNotFound)
        {
            return true;   // deleted in between: nobody is left to be told
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

    private static JsonObject Wanted(JsonObject present, StatusReport report, DateTimeOffset now)
    {
        var there = ((present["status"] as JsonObject)?["conditions"] as JsonArray)?.OfType<JsonObject>().ToList() ?? [];
        var own = report.Wanted.Concat(report.Present).Select(c => c.Type).ToHashSet();
        // The list of the mesh's own kinds has one owner, who therefore carries the others' conditions along; that of a Service is owned entry by entry.
        var others = report.Type.Group.Length == 0 ? [] : there.Where(c => !own.Contains(PolicyObject.TextOf(c["type"]) ?? "")).Select(c => c.DeepClone());
        var wanted = report.Wanted.Select(c => Condition(c, there.Find(p => PolicyObject.TextOf(p["type"]) == c.Type), now));
        return new JsonObject
        {
            ["apiVersion"] = report.Type.ApiVersion,
            ["kind"] = report.Type.Kind,
            ["metadata"] = new JsonObject { ["name"] = report.Key.Name, ["namespace"] = report.Key.Namespace, ["resourceVersion"] = GenericObjects.VersionOf(present) },
            ["status"] = new JsonObject { ["conditions"] = new JsonArray([.. others, .. wanted]) },
        };
    }

    private static JsonObject Condition(StatusCondition condition, JsonObject? before, DateTimeOffset now)
    {
        var since = before is not null && PolicyObject.TextOf(before["status"]) == condition.Status ? PolicyObject.TextOf(before["lastTransitionTime"]) : null;
        var written = new JsonObject
        {
            ["type"] = condition.Type,
            ["status"] = condition.Status,
            ["reason"] = condition.Reason,
            ["message"] = condition.Message,
            ["lastTransitionTime"] = since ?? now.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture),
        };
        if (condition.ObservedGeneration > 0) written["observedGeneration"] = condition.ObservedGeneration;
        return written;
    }
}
