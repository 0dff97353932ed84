using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;
using AmbientMesh.Lab.Nodes;

namespace AmbientMesh.Lab.Controllers;

/// <summary>Taints nodes that are not ready, and removes the pods of nodes that are gone.</summary>
internal sealed class NodeLifecycleController(ClusterStore store, Action<string> report)
{
    private const string NotReady = "node.kubernetes.io/not-ready";
    private static readonly WriteOptions s_writes = WriteOptions.By("kube-controller-manager");

    public Task RunAsync(CancellationToken cancellationToken) =>
        new ReconcileLoop(store, "node lifecycle", [ReconcileSource.Own(Resources.Nodes)], Reconcile, report).RunAsync(cancellationToken);

    internal TimeSpan? Reconcile(string _, string name)
    {
        if (store.TryGet(Resources.Nodes, "", name) is not { } node)
        {
            foreach (var pod in store.List(Resources.Pods, new Selection(Fields: FieldSelector.Of("spec.nodeName", name))).Items)
                store.Delete(Resources.Pods, pod.Namespace(), pod.Name(), DeleteOptions.Now);
            return null;
        }
        var tainted = node.Objects("spec", "taints").Any(t => t.Text("key") == NotReady);
        var ready = node.Condition("Ready") == "True";
        if (ready != tainted) return null;
        store.Modify(Resources.Nodes, "", name, n => Taint(n, !ready, store.Clock.GetUtcNow()), s_writes);
        return null;
    }

    private static void Taint(JsonObject node, bool set, DateTimeOffset now)
    {
        var spec = node.Ensure("spec");
        var others = node.Objects("spec", "taints").Where(t => t.Text("key") != NotReady).Select(t => (JsonNode)t.Copy()).ToList();
        if (set) others.Add(new JsonObject { ["key"] = NotReady, ["effect"] = "NoSchedule", ["timeAdded"] = KubernetesTime.Seconds(now) });
        if (others.Count > 0) spec["taints"] = new JsonArray([.. others]);
        else spec.Remove("taints");
    }
}
