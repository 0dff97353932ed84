using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;
using AmbientMesh.Lab.Nodes;

namespace AmbientMesh.Lab.Controllers;

/// <summary>Binds pods to nodes: of those that fit, the one with the fewest pods of the same owner, then the fewest at all.</summary>
internal sealed class Scheduler(ClusterStore store, Action<string> report)
{
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(1);
    private static readonly WriteOptions s_writes = WriteOptions.By("kube-scheduler");
    private readonly EventRecorder _events = new(store, "default-scheduler");

    public Task RunAsync(CancellationToken cancellationToken) =>
        new ReconcileLoop(store, "scheduler", [ReconcileSource.Own(Resources.Pods)], Reconcile, report).RunAsync(cancellationToken);

    internal TimeSpan? Reconcile(string ns, string name)
    {
        if (store.TryGet(Resources.Pods, ns, name) is not { } pod || pod.NodeName().Length > 0 || pod.IsTerminating() || pod.IsFinished()) return null;
        if ((pod.Text("spec", "schedulerName") ?? "default-scheduler") != "default-scheduler") return null;
        if (pod.List("spec", "schedulingGates") is { Count: > 0 })
        {
            Refuse(pod, "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates");
            return null;
        }
        var pods = store.List(Resources.Pods).Items.Where(p => p.NodeName().Length > 0 && !p.IsFinished()).ToLookup(p => p.NodeName());
        var nodes = store.List(Resources.Nodes).Items;
        var problems = nodes.Select(n => (Node: n, Problem: NodeFit.Problem(pod, n, pods[n.Name()]))).ToArray();
        var chosen = problems.Where(p => p.Problem is null).Select(p => p.Node)
            .OrderBy(n => pods[n.Name()].Count(p => SameOwner(p, pod)))
            .ThenBy(n => pods[n.Name()].Count())
            .FirstOrDefault();
        if (chosen is not null)
        {
            store.BindPod(ns, name, chosen.Name(), s_writes);
            _events.Normal(pod, "Scheduled", $"Successfully assigned {ns}/{name} to {chosen.Name()}");
            return null;
        }
        var message = Explain(problems.Select(p => p.Problem!).ToArray());
        Refuse(pod, "Unschedulable", message);
        _events.Warning(pod, "FailedScheduling", message);
        return s_retry;
    }

    /// <summary>The scheduler's sentence: how many nodes failed for which reason.</summary>
    internal static string Explain(IReadOnlyList<string> problems)
    {
        var reasons = problems.GroupBy(p => p).Select(g => $"{g.Count()} {g.Key}").Order(StringComparer.Ordinal);
        return problems.Count == 0
            ? "no nodes available to schedule pods"
            : $"0/{problems.Count} nodes are available: {string.Join(", ", reasons)}. no new claims to deallocate, " +
              $"preemption: 0/{problems.Count} nodes are available: {problems.Count} Preemption is not helpful for scheduling.";
    }

    private void Refuse(JsonObject pod, string reason, string message) => store.ModifyStatus(Resources.Pods, pod.Namespace(), pod.Name(), p =>
    {
        var status = p.Ensure("status");
        if (status["conditions"] is not JsonArray conditions) status["conditions"] = conditions = [];
        var condition = conditions.OfType<JsonObject>().FirstOrDefault(c => c.Text("type") == "PodScheduled");
        if (condition is null) conditions.Add(condition = new JsonObject { ["type"] = "PodScheduled", ["lastTransitionTime"] = KubernetesTime.Seconds(store.Clock.GetUtcNow()) });
        condition["lastProbeTime"] = null;
        (condition["status"], condition["reason"], condition["message"]) = ("False", reason, message);
    }, s_writes);

    private static bool SameOwner(JsonObject one, JsonObject other) => one.ControllerUid() is { } uid && uid == other.ControllerUid();
}
