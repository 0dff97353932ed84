using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Nodes;

/// <summary>Reading pods as the kubelet does.</summary>
internal static class PodFacts
{
    public static bool IsHostNetwork(this JsonObject pod) => pod.Flag("spec", "hostNetwork") == true;
    public static string NodeName(this JsonObject pod) => pod.Text("spec", "nodeName") ?? "";
    public static IEnumerable<JsonObject> Containers(this JsonObject pod) => pod.Objects("spec", "containers");
    public static IEnumerable<JsonObject> InitContainers(this JsonObject pod) => pod.Objects("spec", "initContainers");
    public static string RestartPolicy(this JsonObject pod) => pod.Text("spec", "restartPolicy") ?? "Always";
    public static bool IsFinished(this JsonObject pod) => pod.Text("status", "phase") is "Succeeded" or "Failed";
    public static bool IsReady(this JsonObject pod) => pod.Condition("Ready") == "True";

    public static string? Condition(this JsonObject o, string type) =>
        o.Objects("status", "conditions").FirstOrDefault(c => c.Text("type") == type).Text("status");

    /// <summary>A sidecar: an init container that stays.</summary>
    public static bool IsSidecar(this JsonObject container) => container.Text("restartPolicy") == "Always";

    /// <summary>The name inside the pod: its own, or the one asked for; in the node's network the node's.</summary>
    public static string Hostname(this JsonObject pod) => pod.IsHostNetwork() ? pod.NodeName() : pod.Text("spec", "hostname") ?? pod.Name();

    /// <summary>Guaranteed, Burstable or BestEffort; from the status when the API server has said it.</summary>
    public static string QosClass(this JsonObject pod)
    {
        if (pod.Text("status", "qosClass") is { } said) return said;
        var all = pod.Containers().Concat(pod.InitContainers()).ToArray();
        if (!Array.Exists(all, c => c.Map("resources", "requests") is { Count: > 0 } || c.Map("resources", "limits") is { Count: > 0 })) return "BestEffort";
        return Array.TrueForAll(all, IsFullyLimited) ? "Guaranteed" : "Burstable";
    }

    private static bool IsFullyLimited(JsonObject container) => Array.TrueForAll<string>(["cpu", "memory"], resource =>
        container.Text("resources", "limits", resource) is { } limit && (container.Text("resources", "requests", resource) ?? limit) == limit);

    public static TimeSpan GracePeriod(this JsonObject pod) => TimeSpan.FromSeconds(
        pod.Number("metadata", "deletionGracePeriodSeconds") ?? pod.Number("spec", "terminationGracePeriodSeconds") ?? 30);
}
