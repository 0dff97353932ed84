using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Controllers;

/// <summary>Whether a pod may run on a node. Pure. Source: Kubernetes, assigning pods to nodes; taints and tolerations.</summary>
internal static class NodeFit
{
    public const string Affinity = "node(s) didn't match Pod's node affinity/selector";
    public const string Taints = "node(s) had untolerated taint(s)";
    public const string AntiAffinity = "node(s) didn't match pod anti-affinity rules";
    public const string Unschedulable = "node(s) were unschedulable";

    /// <summary>Null when it may, else the scheduler's reason.</summary>
    /// <param name="onNode">The pods that are on the node.</param>
    public static string? Problem(JsonObject pod, JsonObject node, IEnumerable<JsonObject> onNode)
    {
        if (!MatchesSelector(pod, node)) return Affinity;
        if (UntoleratedTaint(pod, node, "NoSchedule", "NoExecute")) return Taints;
        if (node.Flag("spec", "unschedulable") == true && !Tolerates(pod, "node.kubernetes.io/unschedulable", "", "NoSchedule")) return Unschedulable;
        return RefusedByNeighbours(pod, node, onNode) ? AntiAffinity : null;
    }

    public static bool MatchesSelector(JsonObject pod, JsonObject node)
    {
        var labels = node.Labels();
        if (!pod.TextMap("spec", "nodeSelector").All(s => labels.GetValueOrDefault(s.Key) == s.Value)) return false;
        var terms = pod.Objects("spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms").ToArray();
        return terms.Length == 0 || Array.Exists(terms, t => MatchesTerm(t, node, labels));
    }

    public static bool UntoleratedTaint(JsonObject pod, JsonObject node, params string[] effects) => node.Objects("spec", "taints")
        .Where(t => effects.Contains(t.Text("effect")))
        .Any(t => !Tolerates(pod, t.Text("key") ?? "", t.Text("value") ?? "", t.Text("effect") ?? ""));

    private static bool MatchesTerm(JsonObject term, JsonObject node, IReadOnlyDictionary<string, string> labels)
    {
        var fields = term.Objects("matchFields").All(f => f.Text("key") == "metadata.name" && (f.Text("operator") == "NotIn") != f.Texts("values").Contains(node.Name()));
        var expressions = new JsonObject { ["matchExpressions"] = term.List("matchExpressions")?.DeepClone() };
        return fields && (term.List("matchExpressions") is null || LabelSelector.FromObject(expressions).Matches(labels));
    }

    private static bool Tolerates(JsonObject pod, string key, string value, string effect) => pod.Objects("spec", "tolerations").Any(t =>
        (t.Text("effect") is not { Length: > 0 } e || e == effect) &&
        (t.Text("key") is not { Length: > 0 } k ? t.Text("operator") == "Exists" : k == key) &&
        (t.Text("operator") == "Exists" || (t.Text("value") ?? "") == value));

    private static bool RefusedByNeighbours(JsonObject pod, JsonObject node, IEnumerable<JsonObject> onNode)
    {
        var rules = pod.Objects("spec", "affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
            .Where(r => r.Text("topologyKey") == "kubernetes.io/hostname").ToArray();
        return rules.Length > 0 && onNode.Any(p => Array.Exists(rules, r => AppliesTo(r, pod, p)));
    }

    private static bool AppliesTo(JsonObject rule, JsonObject pod, JsonObject neighbour)
    {
        var namespaces = rule.Texts("namespaces").ToArray();
        return (namespaces.Length > 0 ? namespaces.Contains(neighbour.Namespace()) : neighbour.Namespace() == pod.Namespace()) &&
               LabelSelector.FromObject(rule.Map("labelSelector")).Matches(neighbour);
    }
}
