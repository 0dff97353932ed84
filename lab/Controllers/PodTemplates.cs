using System.Text;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;
using AmbientMesh.Lab.Nodes;

namespace AmbientMesh.Lab.Controllers;

/// <summary>Making pods from templates, and knowing which template a pod was made from.</summary>
internal static class PodTemplates
{
    private const string SafeLetters = "bcdfghjklmnpqrstvwxz2456789";

    /// <summary>A short stable name of the template's content, in the letters Kubernetes uses.</summary>
    public static string Hash(JsonNode? template, string salt = "")
    {
        uint hash = 2166136261;
        foreach (var b in Encoding.UTF8.GetBytes(Ordered(template) + salt)) hash = (hash ^ b) * 16777619;
        return string.Concat(hash.ToString().Select(digit => SafeLetters[digit % SafeLetters.Length]));
    }

    /// <summary>A pod of the template, owned by <paramref name="owner"/>; named by the caller or generated.</summary>
    public static JsonObject Pod(JsonObject owner, string? name = null)
    {
        var template = owner.Map("spec", "template") ?? [];
        var pod = new JsonObject { ["kind"] = "Pod", ["apiVersion"] = "v1", ["metadata"] = (template.Map("metadata") ?? []).Copy(), ["spec"] = (template.Map("spec") ?? []).Copy() };
        var metadata = pod.Metadata();
        metadata["namespace"] = owner.Namespace();
        metadata.Remove("name");
        metadata.Remove("creationTimestamp");
        if (name is null) metadata["generateName"] = $"{owner.Name()}-";
        else metadata["name"] = name;
        metadata["ownerReferences"] = new JsonArray(owner.ControllerReference());
        return pod;
    }

    /// <summary>The pods that <paramref name="owner"/> controls.</summary>
    public static IReadOnlyList<JsonObject> OwnedPods(this ClusterStore store, JsonObject owner) =>
        [.. store.List(Resources.Pods, new Selection(owner.Namespace())).Items.Where(p => p.ControllerUid() == owner.Uid())];

    /// <summary>Neither ended nor ending.</summary>
    public static bool IsActive(this JsonObject pod) => !pod.IsFinished() && !pod.IsTerminating();

    /// <summary>Ready for so many seconds.</summary>
    /// <param name="wait">How long until it is, when only time is missing.</param>
    public static bool IsAvailable(this JsonObject pod, long minReadySeconds, DateTimeOffset now, ref TimeSpan? wait)
    {
        if (!pod.IsReady() || pod.IsTerminating()) return false;
        if (minReadySeconds <= 0) return true;
        var since = KubernetesTime.Parse(pod.Objects("status", "conditions").First(c => c.Text("type") == "Ready").Text("lastTransitionTime")) ?? now;
        var missing = since.AddSeconds(minReadySeconds) - now;
        if (missing <= TimeSpan.Zero) return true;
        wait = wait is null || missing < wait ? missing : wait;
        return false;
    }

    /// <summary>An absolute number or a share in percent of <paramref name="whole"/>.</summary>
    public static int Share(JsonNode? value, int whole, bool up, int fallbackPercent)
    {
        var text = value?.ToString() ?? $"{fallbackPercent}%";
        if (!text.EndsWith('%')) return int.TryParse(text, out var number) ? number : 0;
        var exact = whole * int.Parse(text[..^1]) / 100.0;
        return (int)(up ? Math.Ceiling(exact) : Math.Floor(exact));
    }

    /// <summary>Sets a condition of a workload's status; times move when something moved.</summary>
    public static void SetCondition(JsonObject o, string type, bool holds, string reason, string message, DateTimeOffset now)
    {
        var status = o.Ensure("status");
        if (status["conditions"] is not JsonArray conditions) status["conditions"] = conditions = [];
        var condition = conditions.OfType<JsonObject>().FirstOrDefault(c => c.Text("type") == type);
        if (condition is null) conditions.Add(condition = new JsonObject { ["type"] = type });
        var value = holds ? "True" : "False";
        if (condition.Text("status") == value && condition.Text("reason") == reason && condition.Text("message") == message) return;
        if (condition.Text("status") != value) condition["lastTransitionTime"] = KubernetesTime.Seconds(now);
        condition["lastUpdateTime"] = KubernetesTime.Seconds(now);
        (condition["status"], condition["reason"], condition["message"]) = (value, reason, message);
    }

    private static string Ordered(JsonNode? node) => node switch
    {
        JsonObject o => "{" + string.Join(',', o.OrderBy(p => p.Key, StringComparer.Ordinal).Select(p => $"\"{p.Key}\":{Ordered(p.Value)}")) + "}",
        JsonArray a => "[" + string.Join(',', a.Select(Ordered)) + "]",
        null => "null",
        _ => node.ToJsonString(),
    };
}
