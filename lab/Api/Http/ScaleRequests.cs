using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Semantics.Patching;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>The scale subresource of workloads and custom resources.</summary>
internal static class ScaleRequests
{
    public static async Task HandleAsync(RequestContext c)
    {
        var (specPath, statusPath, selectorPath) = Paths(c.Resource);
        var current = c.Store.Get(c.Resource.GroupResource, c.Info.Namespace, c.Info.Name);
        if (c.Info.Verb == "get")
        {
            await Responses.ObjectAsync(c.Http, 200, Scale(c.Resource, current, specPath, statusPath, selectorPath));
            return;
        }
        if (c.Info.Verb is not ("update" or "patch")) throw ApiErrors.MethodNotAllowed();
        var options = c.WriteOptions(c.Info.Verb == "update" ? "UpdateOptions" : "PatchOptions");
        var bytes = await RequestBody.BytesAsync(c.Request);
        var type = RequestBody.ContentType(c.Request);
        var stored = c.Store.Write(c.Resource, c.Info.Namespace, c.Info.Name, "scale", live => Scaled(c, live, type, bytes), options);
        await Responses.ObjectAsync(c.Http, 200, Scale(c.Resource, stored, specPath, statusPath, selectorPath));
    }

    private static JsonObject Scaled(RequestContext c, JsonObject live, string type, byte[] bytes)
    {
        var (specPath, statusPath, selectorPath) = Paths(c.Resource);
        var scale = Scale(c.Resource, live, specPath, statusPath, selectorPath);
        var body = JsonNode.Parse(bytes);
        switch (body)
        {
            case JsonArray operations when type == "application/json-patch+json":
                scale = JsonPatch.Apply(scale, operations);
                break;
            case JsonObject patch when c.Info.Verb == "patch":
                MergePatch.Apply(scale, patch);
                break;
            case JsonObject replacement:
                scale = replacement.Copy();
                break;
        }
        if (scale.Text("metadata", "resourceVersion") is { Length: > 0 } version && version != live.Text("metadata", "resourceVersion"))
            throw ApiErrors.Modified(c.Resource.GroupResource, live.Name());
        var replicas = scale.Number("spec", "replicas") ?? 0;
        if (replicas < 0)
            throw ApiErrors.Invalid("autoscaling", "Scale", live.Name(), [FieldError.Invalid("spec.replicas", $"{replicas}", "must be greater than or equal to 0")]);
        var next = live.Copy();
        next.Ensure(specPath.AsSpan(0, specPath.Length - 1))[specPath[^1]] = JsonTree.Number(replicas);
        return next;
    }

    private static (string[] Spec, string[] Status, string[]? Selector) Paths(ApiResource resource)
    {
        if (resource.Custom?.Scale is not { } scale) return (["spec", "replicas"], ["status", "replicas"], null);
        static string[] Split(string? path) => (path ?? "").Split('.', StringSplitOptions.RemoveEmptyEntries);
        return (Split(scale.Text("specReplicasPath")), Split(scale.Text("statusReplicasPath")), scale.Text("labelSelectorPath") is { } selector ? Split(selector) : null);
    }

    private static JsonObject Scale(ApiResource resource, JsonObject o, string[] specPath, string[] statusPath, string[]? selectorPath)
    {
        var metadata = new JsonObject { ["name"] = o.Name(), ["namespace"] = o.Namespace(), ["uid"] = o.Uid(), ["resourceVersion"] = o.Text("metadata", "resourceVersion") };
        metadata["creationTimestamp"] = o.Text("metadata", "creationTimestamp");
        var spec = new JsonObject();
        if (o.Number(specPath) is { } wanted and not 0) spec["replicas"] = JsonTree.Number(wanted);
        var status = new JsonObject { ["replicas"] = JsonTree.Number(o.Number(statusPath) ?? 0) };
        var selector = resource.IsCustom ? selectorPath is null ? null : o.Text(selectorPath)
            : resource.Plural == "replicationcontrollers" ? Tables.Cells.Labels(o.At("spec", "selector")) : Tables.Cells.Selector(o.Map("spec", "selector"));
        if (!string.IsNullOrEmpty(selector)) status["selector"] = selector;
        return new JsonObject { ["kind"] = "Scale", ["apiVersion"] = "autoscaling/v1", ["metadata"] = metadata, ["spec"] = spec, ["status"] = status };
    }
}
