using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Semantics;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>A resource as one API version shows it: custom versions and the two shapes of Events share their storage.</summary>
internal sealed class ResourceView(ApiResource requested, ApiResource stored)
{
    private static readonly GroupResource CoreEvents = new("", "events");

    public ApiResource Requested { get; } = requested;
    public ApiResource Stored { get; } = stored;
    private bool IsNewEvent => Requested.Group == "events.k8s.io";

    public static ResourceView Of(ResourceRegistry registry, ApiResource requested) =>
        requested.Group == "events.k8s.io" && requested.Plural == "events" ? new ResourceView(requested, registry.Get(CoreEvents)) : new ResourceView(requested, requested);

    /// <summary>A stored object as the client sees it; may be the stored object itself.</summary>
    public JsonObject Out(JsonObject stored) => IsNewEvent ? EventShapes.FromCore(stored) : ObjectDecoding.InVersion(Requested, stored);

    /// <summary>A client's object as storage takes it.</summary>
    public JsonObject In(JsonObject sent) => IsNewEvent ? EventShapes.ToCore(sent) : sent;

    public FieldSelector Fields(FieldSelector asked) => IsNewEvent ? asked.Rename(f => f.Replace("regarding.", "involvedObject.", StringComparison.Ordinal).Replace("reportingController", "reportingComponent", StringComparison.Ordinal)) : asked;
}

/// <summary>Events of <c>v1</c> and <c>events.k8s.io/v1</c> are the same objects under other field names.</summary>
internal static class EventShapes
{
    private static readonly (string Core, string New)[] Renamed =
    [
        ("involvedObject", "regarding"), ("message", "note"), ("reportingComponent", "reportingController"), ("source", "deprecatedSource"),
        ("firstTimestamp", "deprecatedFirstTimestamp"), ("lastTimestamp", "deprecatedLastTimestamp"), ("count", "deprecatedCount"),
    ];

    public static JsonObject FromCore(JsonObject core) => Schema.CanonicalForm.Of(Rename(core, Renamed.ToDictionary(r => r.Core, r => r.New, StringComparer.Ordinal), "events.k8s.io/v1"),
        Schema.SchemaTable.Get("events.v1.Event"));

    public static JsonObject ToCore(JsonObject sent) => Rename(sent, Renamed.ToDictionary(r => r.New, r => r.Core, StringComparer.Ordinal), "v1");

    private static JsonObject Rename(JsonObject o, Dictionary<string, string> names, string apiVersion)
    {
        var result = new JsonObject();
        foreach (var (name, value) in o) result[names.GetValueOrDefault(name, name)] = JsonTree.CopyNode(value);
        result["apiVersion"] = apiVersion;
        return result;
    }
}

/// <summary>Which fields each kind can be selected by.</summary>
internal static class FieldSelectors
{
    private static readonly Dictionary<(string Group, string Plural), string[]> Known = new()
    {
        [("", "pods")] = ["spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork", "status.phase", "status.podIP", "status.podIPs", "status.nominatedNodeName"],
        [("", "services")] = ["spec.clusterIP", "spec.type"],
        [("", "nodes")] = ["spec.unschedulable"],
        [("", "namespaces")] = ["status.phase"],
        [("", "secrets")] = ["type"],
        [("", "replicationcontrollers")] = ["status.replicas"],
        [("", "events")] = ["involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid", "involvedObject.apiVersion",
            "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason", "reportingComponent", "source", "type"],
        [("events.k8s.io", "events")] = ["regarding.kind", "regarding.namespace", "regarding.name", "regarding.uid", "regarding.apiVersion",
            "regarding.resourceVersion", "regarding.fieldPath", "reason", "reportingController", "type"],
        [("batch", "jobs")] = ["status.successful"],
        [("certificates.k8s.io", "certificatesigningrequests")] = ["spec.signerName"],
    };

    public static void Check(ApiResource resource, FieldSelector selector)
    {
        Known.TryGetValue((resource.Group, resource.Plural), out var own);
        if (resource.Custom is { } custom) own = [.. custom.SelectableFields];
        foreach (var field in selector.Fields)
        {
            if (field == "metadata.name" || (field == "metadata.namespace" && (resource.IsNamespaced || own is null))) continue;
            if (own?.Contains(field, StringComparer.Ordinal) == true) continue;
            throw ApiErrors.BadRequest(own is null
                ? $"\"{field}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                : $"field label not supported: {field}");
        }
    }
}
