using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;
using AmbientMesh.Lab.Nodes;

namespace AmbientMesh.Lab.Controllers;

/// <summary>Keeps the numbered pods of StatefulSets: made upwards one after the other, taken away and renewed downwards. No volume claims.</summary>
internal sealed class StatefulSetController(ClusterStore store, Action<string> report)
{
    private const string HashLabel = "controller-revision-hash";
    private static readonly WriteOptions s_writes = WriteOptions.By("kube-controller-manager");
    private readonly EventRecorder _events = new(store, "statefulset-controller");

    public Task RunAsync(CancellationToken cancellationToken) => new ReconcileLoop(store, "statefulset",
        [ReconcileSource.Own(Resources.StatefulSets), ReconcileSource.OwnerOf(Resources.Pods, "StatefulSet")], Reconcile, report).RunAsync(cancellationToken);

    internal TimeSpan? Reconcile(string ns, string name)
    {
        if (store.TryGet(Resources.StatefulSets, ns, name) is not { } set || set.IsTerminating()) return null;
        var revision = $"{name}-{PodTemplates.Hash(set.At("spec", "template"))}";
        var pods = store.OwnedPods(set).ToDictionary(Ordinal);
        Step(set, revision, pods);
        WriteStatus(set, revision);
        return null;
    }

    private static int Ordinal(JsonObject pod) => int.TryParse(pod.Name()[(pod.Name().LastIndexOf('-') + 1)..], out var number) ? number : -1;

    private void Step(JsonObject set, string revision, Dictionary<int, JsonObject> pods)
    {
        var wanted = (int)(set.Number("spec", "replicas") ?? 1);
        var parallel = set.Text("spec", "podManagementPolicy") == "Parallel";
        foreach (var ended in pods.Values.Where(p => p.IsFinished() && !p.IsTerminating()).ToArray())
        {
            Delete(set, ended);
            if (!parallel) return;
        }
        for (var i = 0; i < wanted; i++)
        {
            if (!pods.TryGetValue(i, out var pod)) Create(set, i, revision);
            else if (pod.IsReady() && !pod.IsTerminating()) continue;
            if (!parallel) return;
        }
        foreach (var (_, surplus) in pods.Where(p => p.Key >= wanted).OrderByDescending(p => p.Key))
        {
            if (!surplus.IsTerminating()) Delete(set, surplus);
            if (!parallel) return;
        }
        if (set.Text("spec", "updateStrategy", "type") == "OnDelete") return;
        var partition = (int)(set.Number("spec", "updateStrategy", "rollingUpdate", "partition") ?? 0);
        var old = pods.Where(p => p.Key >= partition && p.Key < wanted && p.Value.Labels().GetValueOrDefault(HashLabel) != revision).OrderByDescending(p => p.Key).FirstOrDefault().Value;
        if (old is not null && !pods.Values.Any(p => p.IsTerminating())) Delete(set, old);
    }

    private void Create(JsonObject set, int ordinal, string revision)
    {
        var pod = PodTemplates.Pod(set, $"{set.Name()}-{ordinal}");
        var labels = pod.Ensure("metadata", "labels");
        labels["apps.kubernetes.io/pod-index"] = $"{ordinal}";
        labels[HashLabel] = revision;
        labels["statefulset.kubernetes.io/pod-name"] = pod.Name();
        var spec = pod.Ensure("spec");
        spec["hostname"] = pod.Name();
        if (set.Text("spec", "serviceName") is { Length: > 0 } service) spec["subdomain"] = service;
        store.Create(Resources.Pods, pod, s_writes);
        _events.Normal(set, "SuccessfulCreate", $"create Pod {pod.Name()} in StatefulSet {set.Name()} successful");
    }

    private void Delete(JsonObject set, JsonObject pod)
    {
        store.Delete(Resources.Pods, pod.Namespace(), pod.Name());
        _events.Normal(set, "SuccessfulDelete", $"delete Pod {pod.Name()} in StatefulSet {set.Name()} successful");
    }

    private void WriteStatus(JsonObject set, string revision)
    {
        var pods = store.OwnedPods(set).Where(PodTemplates.IsActive).ToArray();
        var updated = pods.Count(p => p.Labels().GetValueOrDefault(HashLabel) == revision);
        store.ModifyStatus(Resources.StatefulSets, set.Namespace(), set.Name(), o =>
        {
            var status = o.Ensure("status");
            status["observedGeneration"] = JsonTree.Number(set.Generation());
            status["replicas"] = JsonTree.Number(pods.Length);
            ReplicaSetController.Count(status, "readyReplicas", pods.Count(PodFacts.IsReady));
            ReplicaSetController.Count(status, "currentReplicas", updated == pods.Length ? updated : pods.Length - updated);
            ReplicaSetController.Count(status, "updatedReplicas", updated);
            if (updated == pods.Length || status.Text("currentRevision") is null) status["currentRevision"] = revision;
            status["updateRevision"] = revision;
            status["collisionCount"] = JsonTree.Number(0);
            status["availableReplicas"] = JsonTree.Number(pods.Count(PodFacts.IsReady));
        }, s_writes);
    }
}
