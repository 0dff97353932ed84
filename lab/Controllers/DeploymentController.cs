using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Controllers;

/// <summary>Carries out Deployments: one ReplicaSet per template, rolled over within maxSurge and maxUnavailable.</summary>
/// <remarks>Behaviour and messages as recorded in the samples (deployment-family, deployment-rollout).</remarks>
internal sealed class DeploymentController(ClusterStore store, Action<string> report)
{
    private const string Revision = "deployment.kubernetes.io/revision";
    private const string HashLabel = "pod-template-hash";
    private static readonly WriteOptions s_writes = WriteOptions.By("kube-controller-manager");
    private readonly EventRecorder _events = new(store, "deployment-controller");

    public Task RunAsync(CancellationToken cancellationToken) => new ReconcileLoop(store, "deployment",
        [ReconcileSource.Own(Resources.Deployments), ReconcileSource.OwnerOf(Resources.ReplicaSets, "Deployment")], Reconcile, report).RunAsync(cancellationToken);

    internal TimeSpan? Reconcile(string ns, string name)
    {
        if (store.TryGet(Resources.Deployments, ns, name) is not { } deployment || deployment.IsTerminating()) return null;
        var sets = Owned(deployment);
        var current = sets.FirstOrDefault(s => HasTemplate(s, deployment));
        if (deployment.Flag("spec", "paused") != true)
        {
            current = current is null ? CreateSet(deployment, sets) : Promote(deployment, current, sets);
            sets = Owned(deployment);
            current = sets.First(s => s.Uid() == current.Uid());
            if (deployment.Text("spec", "strategy", "type") == "Recreate") Recreate(deployment, current, sets);
            else Roll(deployment, current, sets);
        }
        else if (current is not null)
        {
            Scale(deployment, current, Wanted(deployment));
        }
        sets = Owned(deployment);
        return WriteStatus(deployment, sets.FirstOrDefault(s => s.Uid() == current?.Uid()), sets);
    }

    private List<JsonObject> Owned(JsonObject deployment) =>
        [.. store.List(Resources.ReplicaSets, new Selection(deployment.Namespace())).Items.Where(s => s.ControllerUid() == deployment.Uid() && !s.IsTerminating())];

    private static int Wanted(JsonObject deployment) => (int)(deployment.Number("spec", "replicas") ?? 1);
    private static int Replicas(JsonObject set) => (int)(set.Number("spec", "replicas") ?? 0);
    private static int Available(JsonObject set) => (int)(set.Number("status", "availableReplicas") ?? 0);
    private static long RevisionOf(JsonObject o) => long.TryParse(o.Annotations().GetValueOrDefault(Revision), out var revision) ? revision : 0;

    // ---- templates ---------------------------------------------------------------------------------------------------------

    private static bool HasTemplate(JsonObject set, JsonObject deployment)
    {
        var template = set.Map("spec", "template")!.Copy();
        template.Map("metadata", "labels")?.Remove(HashLabel);
        return JsonTree.Same(WithoutTimestamp(template), WithoutTimestamp(deployment.Map("spec", "template")!.Copy()));
    }

    private static JsonObject WithoutTimestamp(JsonObject template)
    {
        template.Map("metadata")?.Remove("creationTimestamp");
        return template;
    }

    private JsonObject CreateSet(JsonObject deployment, IReadOnlyList<JsonObject> sets)
    {
        var template = deployment.Map("spec", "template")!.Copy();
        var hash = PodTemplates.Hash(template);
        for (var salt = 0; store.TryGet(Resources.ReplicaSets, deployment.Namespace(), $"{deployment.Name()}-{hash}") is not null; salt++) hash = PodTemplates.Hash(template, $"{salt}");
        template.Ensure("metadata", "labels")[HashLabel] = hash;
        var selector = deployment.Map("spec", "selector")!.Copy();
        selector.Ensure("matchLabels")[HashLabel] = hash;
        var revision = $"{sets.Select(RevisionOf).DefaultIfEmpty(0).Max() + 1}";
        var spec = new JsonObject { ["replicas"] = JsonTree.Number(0), ["selector"] = selector, ["template"] = template };
        if (deployment.Number("spec", "minReadySeconds") is { } minimum) spec["minReadySeconds"] = JsonTree.Number(minimum);
        var created = store.Create(Resources.ReplicaSets, new JsonObject
        {
            ["kind"] = "ReplicaSet",
            ["apiVersion"] = "apps/v1",
            ["metadata"] = new JsonObject
            {
                ["name"] = $"{deployment.Name()}-{hash}",
                ["namespace"] = deployment.Namespace(),
                ["labels"] = template.Map("metadata", "labels")!.Copy(),
                ["annotations"] = SetAnnotations(deployment, revision),
                ["ownerReferences"] = new JsonArray(deployment.ControllerReference()),
            },
            ["spec"] = spec,
        }, s_writes);
        Mark(deployment, revision);
        Condition(deployment, "Progressing", true, "NewReplicaSetCreated", $"Created new replica set \"{created.Name()}\"");
        return created;
    }

    /// <summary>A template that was there before becomes the newest revision again.</summary>
    private JsonObject Promote(JsonObject deployment, JsonObject current, IReadOnlyList<JsonObject> sets)
    {
        var newest = sets.Select(RevisionOf).Max();
        var revision = RevisionOf(current) < newest ? $"{newest + 1}" : $"{RevisionOf(current)}";
        var marked = store.Modify(Resources.ReplicaSets, current.Namespace(), current.Name(), s =>
        {
            foreach (var (key, value) in SetAnnotations(deployment, revision)) s.Ensure("metadata", "annotations")[key] = value?.Text();
        }, s_writes);
        Mark(deployment, revision);
        return marked;
    }

    private static JsonObject SetAnnotations(JsonObject deployment, string revision)
    {
        var annotations = new JsonObject();
        foreach (var (key, value) in deployment.Annotations())
            if (key != Revision && key != "kubectl.kubernetes.io/last-applied-configuration") annotations[key] = value;
        var wanted = Wanted(deployment);
        annotations["deployment.kubernetes.io/desired-replicas"] = $"{wanted}";
        annotations["deployment.kubernetes.io/max-replicas"] = $"{wanted + Surge(deployment, wanted)}";
        annotations[Revision] = revision;
        return annotations;
    }

    private void Mark(JsonObject deployment, string revision)
    {
        if (deployment.Annotations().GetValueOrDefault(Revision) != revision)
            store.Modify(Resources.Deployments, deployment.Namespace(), deployment.Name(), d => d.Ensure("metadata", "annotations")[Revision] = revision, s_writes);
    }

    // ---- scaling -----------------------------------------------------------------------------------------------------------

    private static int Surge(JsonObject deployment, int wanted) => deployment.Text("spec", "strategy", "type") == "Recreate"
        ? 0
        : PodTemplates.Share(deployment.At("spec", "strategy", "rollingUpdate", "maxSurge"), wanted, up: true, 25);

    private static int Unavailable(JsonObject deployment, int wanted)
    {
        var value = PodTemplates.Share(deployment.At("spec", "strategy", "rollingUpdate", "maxUnavailable"), wanted, up: false, 25);
        return value == 0 && Surge(deployment, wanted) == 0 ? 1 : Math.Min(value, wanted);
    }

    private void Recreate(JsonObject deployment, JsonObject current, List<JsonObject> sets)
    {
        var old = sets.Where(s => s.Uid() != current.Uid()).ToArray();
        foreach (var set in old) Scale(deployment, set, 0);
        if (Array.TrueForAll(old, s => store.OwnedPods(s).Count == 0)) Scale(deployment, current, Wanted(deployment));
    }

    private void Roll(JsonObject deployment, JsonObject current, List<JsonObject> sets)
    {
        var wanted = Wanted(deployment);
        var total = sets.Sum(Replicas);
        if (Replicas(current) > wanted) Scale(deployment, current, wanted);
        else if (Replicas(current) < wanted) Scale(deployment, current, Replicas(current) + Math.Clamp(wanted + Surge(deployment, wanted) - total, 0, wanted - Replicas(current)));
        sets = Owned(deployment);
        current = sets.First(s => s.Uid() == current.Uid());
        ShrinkOld(deployment, current, sets, wanted);
    }

    private void ShrinkOld(JsonObject deployment, JsonObject current, List<JsonObject> sets, int wanted)
    {
        var minimum = wanted - Unavailable(deployment, wanted);
        var old = sets.Where(s => s.Uid() != current.Uid() && Replicas(s) > 0).OrderBy(RevisionOf).ToArray();
        var spare = sets.Sum(Replicas) - minimum - (Replicas(current) - Available(current));
        foreach (var set in old)
        {
            if (spare <= 0) return;
            // Those that do not work first: they count for nothing.
            var idle = Math.Min(spare, Replicas(set) - Available(set));
            if (idle <= 0) continue;
            Scale(deployment, set, Replicas(set) - idle);
            spare -= idle;
        }
        var available = Owned(deployment).Sum(Available) - minimum;
        foreach (var set in Owned(deployment).Where(s => s.Uid() != current.Uid() && Replicas(s) > 0).OrderBy(RevisionOf))
        {
            var down = Math.Min(available, Math.Min(spare, Replicas(set)));
            if (down <= 0) return;
            Scale(deployment, set, Replicas(set) - down);
            (available, spare) = (available - down, spare - down);
        }
    }

    private void Scale(JsonObject deployment, JsonObject set, int replicas)
    {
        var from = Replicas(set);
        if (from == replicas) return;
        store.Modify(Resources.ReplicaSets, set.Namespace(), set.Name(), s => s.Ensure("spec")["replicas"] = JsonTree.Number(replicas), s_writes);
        _events.Normal(deployment, "ScalingReplicaSet", $"Scaled {(replicas > from ? "up" : "down")} replica set {set.Name()} from {from} to {replicas}");
    }

    // ---- status ------------------------------------------------------------------------------------------------------------

    private TimeSpan? WriteStatus(JsonObject deployment, JsonObject? current, IReadOnlyList<JsonObject> sets)
    {
        var wanted = Wanted(deployment);
        int Sum(string field) => sets.Sum(s => (int)(s.Number("status", field) ?? 0));
        var (replicas, ready, available, terminating) = (Sum("replicas"), Sum("readyReplicas"), Sum("availableReplicas"), Sum("terminatingReplicas"));
        var updated = (int)(current.Number("status", "replicas") ?? 0);
        var now = store.Clock.GetUtcNow();
        var complete = current is not null && updated == wanted && replicas == wanted && available == wanted && current.Number("status", "observedGeneration") == current.Generation();
        TimeSpan? again = null;
        store.ModifyStatus(Resources.Deployments, deployment.Namespace(), deployment.Name(), d =>
        {
            var status = d.Ensure("status");
            var moved = status.Number("updatedReplicas") != (updated == 0 ? null : updated) || status.Number("readyReplicas") != (ready == 0 ? null : ready) ||
                        status.Number("replicas") != (replicas == 0 ? null : replicas);
            // The newest generation may have come after the one worked on here; it is then looked at again.
            status["observedGeneration"] = JsonTree.Number(deployment.Generation());
            ReplicaSetController.Count(status, "replicas", replicas);
            ReplicaSetController.Count(status, "updatedReplicas", updated);
            ReplicaSetController.Count(status, "readyReplicas", ready);
            ReplicaSetController.Count(status, "availableReplicas", available);
            ReplicaSetController.Count(status, "unavailableReplicas", Math.Max(0, Math.Max(wanted, replicas) - available));
            status["terminatingReplicas"] = JsonTree.Number(terminating);
            var enough = available >= wanted - Unavailable(d, wanted);
            PodTemplates.SetCondition(d, "Available", enough, enough ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
                enough ? "Deployment has minimum availability." : "Deployment does not have minimum availability.", now);
            if (current is not null) again = Progress(d, current, complete, moved, now);
        }, s_writes);
        if (complete) Clean(deployment, current!, sets);
        return again;
    }

    private static TimeSpan? Progress(JsonObject deployment, JsonObject current, bool complete, bool moved, DateTimeOffset now)
    {
        var condition = deployment.Objects("status", "conditions").FirstOrDefault(c => c.Text("type") == "Progressing");
        if (complete)
        {
            PodTemplates.SetCondition(deployment, "Progressing", true, "NewReplicaSetAvailable", $"ReplicaSet \"{current.Name()}\" has successfully progressed.", now);
            return null;
        }
        if (moved || condition is null || condition.Text("reason") == "NewReplicaSetAvailable")
        {
            PodTemplates.SetCondition(deployment, "Progressing", true, "ReplicaSetUpdated", $"ReplicaSet \"{current.Name()}\" is progressing.", now);
            var written = deployment.Objects("status", "conditions").First(c => c.Text("type") == "Progressing");
            written["lastUpdateTime"] = KubernetesTime.Seconds(now);
            condition = written;
        }
        if (condition.Text("reason") == "ProgressDeadlineExceeded") return null;
        var limit = TimeSpan.FromSeconds(deployment.Number("spec", "progressDeadlineSeconds") ?? 600);
        var left = (KubernetesTime.Parse(condition.Text("lastUpdateTime")) ?? now) + limit - now;
        if (left > TimeSpan.Zero) return left + TimeSpan.FromSeconds(1);
        PodTemplates.SetCondition(deployment, "Progressing", false, "ProgressDeadlineExceeded", $"ReplicaSet \"{current.Name()}\" has timed out progressing.", now);
        return null;
    }

    private void Condition(JsonObject deployment, string type, bool holds, string reason, string message) => store.ModifyStatus(
        Resources.Deployments, deployment.Namespace(), deployment.Name(), d => PodTemplates.SetCondition(d, type, holds, reason, message, store.Clock.GetUtcNow()), s_writes);

    private void Clean(JsonObject deployment, JsonObject current, IReadOnlyList<JsonObject> sets)
    {
        var limit = (int)(deployment.Number("spec", "revisionHistoryLimit") ?? 10);
        var idle = sets.Where(s => s.Uid() != current.Uid() && Replicas(s) == 0 && (s.Number("status", "replicas") ?? 0) == 0).OrderBy(RevisionOf).ToArray();
        foreach (var set in idle.Take(idle.Length - limit)) store.Delete(Resources.ReplicaSets, set.Namespace(), set.Name());
    }
}
