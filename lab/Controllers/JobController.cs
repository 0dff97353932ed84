using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;
using AmbientMesh.Lab.Nodes;

namespace AmbientMesh.Lab.Controllers;

/// <summary>Runs the pods of Jobs until enough have succeeded or too many have failed. Shapes as recorded (job-family).</summary>
internal sealed class JobController(ClusterStore store, Action<string> report)
{
    private static readonly WriteOptions s_writes = WriteOptions.By("kube-controller-manager");
    private readonly EventRecorder _events = new(store, "job-controller");

    public Task RunAsync(CancellationToken cancellationToken) => new ReconcileLoop(store, "job",
        [ReconcileSource.Own(Resources.Jobs), ReconcileSource.OwnerOf(Resources.Pods, "Job")], Reconcile, report).RunAsync(cancellationToken);

    internal TimeSpan? Reconcile(string ns, string name)
    {
        if (store.TryGet(Resources.Jobs, ns, name) is not { } job || job.IsTerminating() || job.Flag("spec", "suspend") == true) return null;
        if (job.Condition("Complete") == "True" || job.Condition("Failed") == "True") return null;
        var pods = store.OwnedPods(job);
        var succeeded = pods.Count(p => p.Text("status", "phase") == "Succeeded");
        var failed = pods.Count(p => p.Text("status", "phase") == "Failed");
        var active = pods.Where(PodTemplates.IsActive).ToArray();
        var completions = (int)(job.Number("spec", "completions") ?? 1);
        var isComplete = succeeded >= completions;
        var isFailed = failed > (job.Number("spec", "backoffLimit") ?? 6);
        if (!isComplete && !isFailed)
        {
            for (var missing = Math.Min((int)(job.Number("spec", "parallelism") ?? 1), completions - succeeded) - active.Length; missing > 0; missing--) Create(job);
        }
        else
        {
            foreach (var pod in active) store.Delete(Resources.Pods, ns, pod.Name());
        }
        WriteStatus(job, succeeded, failed, isComplete, isFailed);
        return null;
    }

    private void Create(JsonObject job)
    {
        var pod = store.Create(Resources.Pods, PodTemplates.Pod(job), s_writes);
        _events.Normal(job, "SuccessfulCreate", $"Created pod: {pod.Name()}");
    }

    private void WriteStatus(JsonObject job, int succeeded, int failed, bool isComplete, bool isFailed)
    {
        var active = store.OwnedPods(job).Where(PodTemplates.IsActive).ToArray();
        var now = KubernetesTime.Seconds(store.Clock.GetUtcNow());
        store.ModifyStatus(Resources.Jobs, job.Namespace(), job.Name(), o =>
        {
            var status = o.Ensure("status");
            status["startTime"] ??= now;
            ReplicaSetController.Count(status, "active", active.Length);
            ReplicaSetController.Count(status, "succeeded", succeeded);
            ReplicaSetController.Count(status, "failed", failed);
            status["ready"] = JsonTree.Number(active.Count(PodFacts.IsReady));
            status["terminating"] = JsonTree.Number(0);
            status["uncountedTerminatedPods"] ??= new JsonObject();
            if (isComplete)
            {
                status["completionTime"] ??= now;
                Conclude(status, now, "SuccessCriteriaMet", "Complete", "CompletionsReached", "Reached expected number of succeeded pods");
            }
            else if (isFailed)
            {
                Conclude(status, now, "FailureTarget", "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit");
            }
        }, s_writes);
        if (isComplete) _events.Normal(job, "Completed", "Job completed");
        else if (isFailed) _events.Warning(job, "BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }

    private static void Conclude(JsonObject status, string now, string first, string second, string reason, string message) =>
        status["conditions"] = new JsonArray([.. ((string[])[first, second]).Select(type => new JsonObject
        {
            ["type"] = type, ["status"] = "True", ["lastProbeTime"] = now, ["lastTransitionTime"] = now, ["reason"] = reason, ["message"] = message,
        })]);
}
