using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;
using AmbientMesh.Lab.Nodes;

namespace AmbientMesh.Lab.Controllers;

/// <summary>Keeps as many pods as each ReplicaSet asks for.</summary>
internal sealed class ReplicaSetController(ClusterStore store, Action<string> report)
{
    private static readonly WriteOptions s_writes = WriteOptions.By("kube-controller-manager");
    private readonly EventRecorder _events = new(store, "replicaset-controller");

    public Task RunAsync(CancellationToken cancellationToken) => new ReconcileLoop(store, "replicaset",
        [ReconcileSource.Own(Resources.ReplicaSets), ReconcileSource.OwnerOf(Resources.Pods, "ReplicaSet")], Reconcile, report).RunAsync(cancellationToken);

    internal TimeSpan? Reconcile(string ns, string name)
    {
        if (store.TryGet(Resources.ReplicaSets, ns, name) is not { } set) return null;
        var pods = store.OwnedPods(set);
        var active = pods.Where(PodTemplates.IsActive).ToList();
        if (!set.IsTerminating()) Adjust(set, active);
        TimeSpan? wait = null;
        WriteStatus(set, store.OwnedPods(set), ref wait);
        return wait;
    }

    private void Adjust(JsonObject set, List<JsonObject> active)
    {
        var wanted = (int)(set.Number("spec", "replicas") ?? 1);
        for (var missing = wanted - active.Count; missing > 0; missing--)
        {
            try
            {
                var pod = store.Create(Resources.Pods, PodTemplates.Pod(set), s_writes);
                _events.Normal(set, "SuccessfulCreate", $"Created pod: {pod.Name()}");
            }
            catch (ApiException refused)
            {
                _events.Warning(set, "FailedCreate", $"Error creating: {refused.Message}");
                throw;
            }
        }
        foreach (var pod in Surplus(active, active.Count - wanted))
        {
            store.Delete(Resources.Pods, pod.Namespace(), pod.Name());
            _events.Normal(set, "SuccessfulDelete", $"Deleted pod: {pod.Name()}");
        }
    }

    /// <summary>Those to go: without a node first, then not ready, then the youngest.</summary>
    internal static IEnumerable<JsonObject> Surplus(IEnumerable<JsonObject> active, int count) => active
        .OrderBy(p => p.NodeName().Length > 0)
        .ThenBy(p => p.IsReady())
        .ThenByDescending(p => p.Text("metadata", "creationTimestamp"), StringComparer.Ordinal)
        .ThenByDescending(p => p.ResourceVersion())
        .Take(Math.Max(0, count));

    private void WriteStatus(JsonObject set, IReadOnlyList<JsonObject> pods, ref TimeSpan? wait)
    {
        var active = pods.Where(PodTemplates.IsActive).ToArray();
        var labels = set.TextMap("spec", "template", "metadata", "labels");
        var minimum = set.Number("spec", "minReadySeconds") ?? 0;
        var now = store.Clock.GetUtcNow();
        var available = 0;
        foreach (var pod in active) available += pod.IsAvailable(minimum, now, ref wait) ? 1 : 0;
        store.ModifyStatus(Resources.ReplicaSets, set.Namespace(), set.Name(), o =>
        {
            var status = o.Ensure("status");
            status["replicas"] = JsonTree.Number(active.Length);
            Count(status, "fullyLabeledReplicas", active.Count(p => LabelSelector.Equal(labels).Matches(p)));
            Count(status, "readyReplicas", active.Count(PodFacts.IsReady));
            Count(status, "availableReplicas", available);
            status["terminatingReplicas"] = JsonTree.Number(pods.Count(p => p.IsTerminating() && !p.IsFinished()));
            status["observedGeneration"] = JsonTree.Number(o.Generation());
        }, s_writes);
    }

    /// <summary>Zero is left out, as omitempty does.</summary>
    internal static void Count(JsonObject status, string name, int count)
    {
        if (count == 0) status.Remove(name);
        else status[name] = JsonTree.Number(count);
    }
}
