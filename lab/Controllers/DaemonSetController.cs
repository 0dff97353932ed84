using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;
using AmbientMesh.Lab.Nodes;

namespace AmbientMesh.Lab.Controllers;

/// <summary>Keeps one pod of each DaemonSet on every node that takes it, and renews them by maxUnavailable or maxSurge.</summary>
/// <remarks>Shapes as recorded in the samples (daemonset-family).</remarks>
internal sealed class DaemonSetController(ClusterStore store, Action<string> report)
{
    private const string HashLabel = "controller-revision-hash";
    private static readonly WriteOptions s_writes = WriteOptions.By("kube-controller-manager");
    private static readonly string[] s_toleratedNoSchedule = ["disk-pressure", "memory-pressure", "pid-pressure", "unschedulable"];
    private readonly EventRecorder _events = new(store, "daemonset-controller");

    public Task RunAsync(CancellationToken cancellationToken) => new ReconcileLoop(store, "daemonset",
    [
        ReconcileSource.Own(Resources.DaemonSets), ReconcileSource.OwnerOf(Resources.Pods, "DaemonSet"),
        new ReconcileSource(Resources.Nodes, _ => store.List(Resources.DaemonSets).Items.Select(ReconcileLoop.Key)),
    ], Reconcile, report).RunAsync(cancellationToken);

    internal TimeSpan? Reconcile(string ns, string name)
    {
        if (store.TryGet(Resources.DaemonSets, ns, name) is not { } set || set.IsTerminating()) return null;
        var hash = PodTemplates.Hash(set.At("spec", "template"));
        KeepRevision(set, hash);
        var nodes = store.List(Resources.Nodes).Items.Where(n => Takes(set, n)).ToDictionary(n => n.Name());
        TimeSpan? wait = null;
        var pods = Live(set);
        foreach (var stray in pods.Where(p => !nodes.ContainsKey(NodeOf(p)) && !p.IsTerminating())) Delete(set, stray);
        foreach (var ended in pods.Where(p => p.IsFinished() && !p.IsTerminating())) Delete(set, ended);
        foreach (var node in nodes.Keys.Where(n => pods.All(p => NodeOf(p) != n))) Create(set, node, hash);
        if (set.Text("spec", "updateStrategy", "type") != "OnDelete") Renew(set, hash, [.. nodes.Keys], ref wait);
        WriteStatus(set, hash, nodes.Keys, ref wait);
        return wait;
    }

    private List<JsonObject> Live(JsonObject set) => [.. store.OwnedPods(set)];

    // ---- pods --------------------------------------------------------------------------------------------------------------

    private static bool Takes(JsonObject set, JsonObject node)
    {
        var pod = PodTemplates.Pod(set);
        AddTolerations(pod);
        return NodeFit.MatchesSelector(pod, node) && !NodeFit.UntoleratedTaint(pod, node, "NoSchedule", "NoExecute");
    }

    private void Create(JsonObject set, string node, string hash)
    {
        var pod = PodTemplates.Pod(set);
        var labels = pod.Ensure("metadata", "labels");
        labels[HashLabel] = hash;
        labels["pod-template-generation"] = $"{set.Generation()}";
        pod.Ensure("spec", "affinity", "nodeAffinity")["requiredDuringSchedulingIgnoredDuringExecution"] = new JsonObject
        {
            ["nodeSelectorTerms"] = new JsonArray(new JsonObject
            {
                ["matchFields"] = new JsonArray(new JsonObject { ["key"] = "metadata.name", ["operator"] = "In", ["values"] = new JsonArray(node) }),
            }),
        };
        AddTolerations(pod);
        try
        {
            var created = store.Create(Resources.Pods, pod, s_writes);
            _events.Normal(set, "SuccessfulCreate", $"Created pod: {created.Name()}");
        }
        catch (ApiException refused)
        {
            _events.Warning(set, "FailedCreate", $"Error creating: {refused.Message}");
            throw;
        }
    }

    private static void AddTolerations(JsonObject pod)
    {
        var spec = pod.Ensure("spec");
        if (spec["tolerations"] is not JsonArray tolerations) spec["tolerations"] = tolerations = [];
        void Add(string taint, string effect) => tolerations.Add(new JsonObject { ["key"] = $"node.kubernetes.io/{taint}", ["operator"] = "Exists", ["effect"] = effect });
        Add("not-ready", "NoExecute");
        Add("unreachable", "NoExecute");
        foreach (var taint in s_toleratedNoSchedule) Add(taint, "NoSchedule");
        if (pod.IsHostNetwork()) Add("network-unavailable", "NoSchedule");
    }

    private void Delete(JsonObject set, JsonObject pod)
    {
        store.Delete(Resources.Pods, pod.Namespace(), pod.Name());
        _events.Normal(set, "SuccessfulDelete", $"Deleted pod: {pod.Name()}");
    }

    /// <summary>The node a pod is for, bound or not yet.</summary>
    private static string NodeOf(JsonObject pod) => pod.NodeName() is { Length: > 0 } bound
        ? bound
        : pod.Objects("spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
            .SelectMany(t => t.Objects("matchFields")).SelectMany(f => f.Texts("values")).FirstOrDefault("");

    // ---- renewal -----------------------------------------------------------------------------------------------------------

    private void Renew(JsonObject set, string hash, IReadOnlyList<string> nodes, ref TimeSpan? wait)
    {
        var rolling = set.Map("spec", "updateStrategy", "rollingUpdate");
        var surge = rolling?["maxSurge"] is null ? 0 : PodTemplates.Share(rolling["maxSurge"], nodes.Count, up: true, 0);
        var unavailable = rolling?["maxUnavailable"] is null ? 1 : PodTemplates.Share(rolling["maxUnavailable"], nodes.Count, up: true, 0);
        if (surge == 0) unavailable = Math.Max(1, unavailable);
        var minimum = set.Number("spec", "minReadySeconds") ?? 0;
        var now = store.Clock.GetUtcNow();
        var byNode = Live(set).Where(p => !p.IsFinished()).ToLookup(NodeOf);
        var (surging, down) = (0, 0);
        var candidates = new List<(string Node, JsonObject Old)>();
        foreach (var node in nodes)
        {
            var current = byNode[node].Where(p => IsCurrent(p, hash)).ToArray();
            var old = byNode[node].Where(p => !IsCurrent(p, hash)).ToArray();
            var available = false;
            foreach (var pod in current) available |= pod.IsAvailable(minimum, now, ref wait);
            var oldAvailable = false;
            foreach (var pod in old) oldAvailable |= pod.IsAvailable(minimum, now, ref wait);
            if (!available && !oldAvailable) down++;
            if (current.Length > 0 && old.Length > 0) surging++;
            if (available)
            {
                foreach (var pod in old.Where(p => !p.IsTerminating())) Delete(set, pod);
            }
            else if (current.Length == 0 && old.FirstOrDefault(p => !p.IsTerminating()) is { } next)
            {
                if (oldAvailable) candidates.Add((node, next));
                else Delete(set, next);   // it does not work anyway
            }
        }
        foreach (var (node, old) in candidates)
        {
            if (surge > 0 && surging++ < surge) Create(set, node, hash);
            else if (surge == 0 && down++ < unavailable) Delete(set, old);
        }
    }

    private static bool IsCurrent(JsonObject pod, string hash) => pod.Labels().GetValueOrDefault(HashLabel) == hash;

    private void KeepRevision(JsonObject set, string hash)
    {
        var name = $"{set.Name()}-{hash}";
        if (store.TryGet(Resources.ControllerRevisions, set.Namespace(), name) is not null) return;
        var known = store.List(Resources.ControllerRevisions, new Selection(set.Namespace())).Items.Where(r => r.ControllerUid() == set.Uid());
        var labels = set.TextMap("spec", "template", "metadata", "labels");
        labels[HashLabel] = hash;
        store.Create(Resources.ControllerRevisions, new JsonObject
        {
            ["kind"] = "ControllerRevision",
            ["apiVersion"] = "apps/v1",
            ["metadata"] = new JsonObject
            {
                ["name"] = name,
                ["namespace"] = set.Namespace(),
                ["labels"] = new JsonObject(labels.Select(l => KeyValuePair.Create(l.Key, (JsonNode?)l.Value))),
                ["ownerReferences"] = new JsonArray(set.ControllerReference()),
            },
            ["data"] = new JsonObject { ["spec"] = new JsonObject { ["template"] = (set.Map("spec", "template") ?? []).Copy() } },
            ["revision"] = JsonTree.Number(known.Select(r => r.Number("revision") ?? 0).DefaultIfEmpty(0).Max() + 1),
        }, s_writes);
    }

    // ---- status ------------------------------------------------------------------------------------------------------------

    private void WriteStatus(JsonObject set, string hash, IReadOnlyCollection<string> nodes, ref TimeSpan? wait)
    {
        var pods = Live(set).Where(p => !p.IsFinished()).ToLookup(NodeOf);
        var minimum = set.Number("spec", "minReadySeconds") ?? 0;
        var now = store.Clock.GetUtcNow();
        var (current, ready, available, updated) = (0, 0, 0, 0);
        foreach (var node in nodes)
        {
            // The oldest pod of a node speaks for it: a node is not renewed while its old pod is still there.
            var pod = pods[node].OrderBy(p => p.Text("metadata", "creationTimestamp"), StringComparer.Ordinal).ThenBy(p => IsCurrent(p, hash)).FirstOrDefault();
            if (pod is null) continue;
            current++;
            if (pod.IsReady()) ready++;
            if (pod.IsAvailable(minimum, now, ref wait)) available++;
            if (IsCurrent(pod, hash)) updated++;
        }
        store.ModifyStatus(Resources.DaemonSets, set.Namespace(), set.Name(), o =>
        {
            var status = o.Ensure("status");
            status["currentNumberScheduled"] = JsonTree.Number(current);
            status["numberMisscheduled"] = JsonTree.Number(pods.Count(g => !nodes.Contains(g.Key)));
            status["desiredNumberScheduled"] = JsonTree.Number(nodes.Count);
            status["numberReady"] = JsonTree.Number(ready);
            status["observedGeneration"] = JsonTree.Number(set.Generation());
            ReplicaSetController.Count(status, "updatedNumberScheduled", updated);
            ReplicaSetController.Count(status, "numberAvailable", available);
            ReplicaSetController.Count(status, "numberUnavailable", nodes.Count - available);
        }, s_writes);
    }
}
