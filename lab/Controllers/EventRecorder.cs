using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Controllers;

/// <summary>Writes core/v1 Events. The same thing said again within ten minutes raises the count of the first one. Thread-safe.</summary>
public sealed class EventRecorder(ClusterStore store, string component, string? host = null)
{
    private static readonly GroupResource s_events = new("", "events");
    private static readonly TimeSpan s_memory = TimeSpan.FromMinutes(10);
    private readonly Lock _gate = new();
    private readonly Dictionary<string, (string Namespace, string Name, DateTimeOffset At)> _said = [];

    public void Normal(JsonObject about, string reason, string message, string? fieldPath = null) => Record(about, "Normal", reason, message, fieldPath);

    public void Warning(JsonObject about, string reason, string message, string? fieldPath = null) => Record(about, "Warning", reason, message, fieldPath);

    private void Record(JsonObject about, string type, string reason, string message, string? fieldPath)
    {
        var now = store.Clock.GetUtcNow();
        var key = string.Join('\n', about.Uid(), type, reason, message, fieldPath);
        try
        {
            lock (_gate)
            {
                if (_said.TryGetValue(key, out var earlier) && now - earlier.At < s_memory && store.TryGet(s_events, earlier.Namespace, earlier.Name) is not null)
                {
                    store.Modify(s_events, earlier.Namespace, earlier.Name, e =>
                    {
                        e["count"] = JsonTree.Number((e.Number("count") ?? 1) + 1);
                        e["lastTimestamp"] = KubernetesTime.Seconds(now);
                    }, WriteOptions.By(component));
                    return;
                }
                var made = Create(about, type, reason, message, fieldPath, now);
                _said[key] = (made.Namespace(), made.Name(), now);
                foreach (var old in _said.Where(s => now - s.Value.At > s_memory).Select(s => s.Key).ToArray()) _said.Remove(old);
            }
        }
        catch (ApiException)
        {
            // The namespace is going away; so is what the event is about.
        }
    }

    private JsonObject Create(JsonObject about, string type, string reason, string message, string? fieldPath, DateTimeOffset now)
    {
        var ns = about.Namespace() is { Length: > 0 } own ? own : "default";
        var reference = new JsonObject
        {
            ["kind"] = about.Kind(),
            ["namespace"] = about.Namespace(),
            ["name"] = about.Name(),
            ["uid"] = about.Uid(),
            ["apiVersion"] = about.ApiVersion(),
            ["resourceVersion"] = about.Text("metadata", "resourceVersion"),
        };
        if (fieldPath is not null) reference["fieldPath"] = fieldPath;
        var source = new JsonObject { ["component"] = component };
        if (host is not null) source["host"] = host;
        return store.Create(s_events, new JsonObject
        {
            ["kind"] = "Event",
            ["apiVersion"] = "v1",
            ["metadata"] = new JsonObject { ["name"] = $"{about.Name()}.{Random.Shared.NextInt64():x16}", ["namespace"] = ns },
            ["involvedObject"] = reference,
            ["reason"] = reason,
            ["message"] = message,
            ["source"] = source,
            ["firstTimestamp"] = KubernetesTime.Seconds(now),
            ["lastTimestamp"] = KubernetesTime.Seconds(now),
            ["count"] = JsonTree.Number(1),
            ["type"] = type,
            ["reportingComponent"] = component,
            ["reportingInstance"] = host ?? "",
        }, WriteOptions.By(component));
    }
}
