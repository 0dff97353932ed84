using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>Binding, eviction, and the end of a namespace.</summary>
internal static class PodActions
{
    private static readonly GroupResource Pods = new("", "pods");

    private static JsonObject Success() => new() { ["kind"] = "Status", ["apiVersion"] = "v1", ["metadata"] = new JsonObject(), ["status"] = "Success", ["code"] = JsonTree.Number(201) };

    public static async Task BindAsync(RequestContext c) => await BindAsync(c, await RequestBody.ObjectAsync(c.Request, "Binding"));

    public static async Task BindAsync(RequestContext c, JsonObject binding)
    {
        if (c.Info.Verb != "create") throw ApiErrors.MethodNotAllowed();
        var name = c.Info.Name.Length > 0 ? c.Info.Name : binding.Name();
        var node = binding.Text("target", "name") ?? "";
        if (node.Length == 0) throw ApiErrors.Invalid("", "Binding", name, [FieldError.Required("target.name")]);
        c.Store.BindPod(c.Info.Namespace, name, node, c.WriteOptions("CreateOptions"));
        await Responses.ObjectAsync(c.Http, 201, Success());
    }

    public static async Task EvictAsync(RequestContext c)
    {
        if (c.Info.Verb != "create") throw ApiErrors.MethodNotAllowed();
        var eviction = await RequestBody.ObjectAsync(c.Request, "Eviction");
        c.Store.Delete(Pods, c.Info.Namespace, c.Info.Name, new DeleteOptions { GracePeriodSeconds = eviction.Number("deleteOptions", "gracePeriodSeconds") });
        await Responses.ObjectAsync(c.Http, 201, Success());
    }

    public static async Task FinalizeNamespaceAsync(RequestContext c)
    {
        if (c.Info.Verb != "update") throw ApiErrors.MethodNotAllowed();
        var sent = await RequestBody.ObjectAsync(c.Request, "Namespace");
        await c.ObjectAsync(200, c.Store.FinalizeNamespace(c.Info.Name, [.. sent.Texts("spec", "finalizers")]));
    }
}
