using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Semantics.Patching;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>Get, create, update, patch and delete of objects and their status.</summary>
internal static class ResourceRequests
{
    public static Task HandleAsync(RequestContext c) => c.Info.Verb switch
    {
        "list" => ListRequests.ListAsync(c),
        "watch" => WatchRequests.WatchAsync(c),
        "get" => c.ObjectAsync(200, GetAtLeast(c)),
        "create" when c.Info.Name.Length == 0 => CreateAsync(c),
        "update" when c.Info.Name.Length > 0 => UpdateAsync(c),
        "patch" when c.Info.Name.Length > 0 => PatchAsync(c),
        "delete" => DeleteAsync(c),
        "deletecollection" => DeleteCollectionAsync(c),
        _ => throw ApiErrors.MethodNotAllowed(),
    };

    private static JsonObject GetAtLeast(RequestContext c)
    {
        ListRequests.CheckNotTooNew(c, c.Query("resourceVersion"));
        return c.Store.Get(c.Resource.GroupResource, c.Resource.IsNamespaced ? c.Info.Namespace : "", c.Info.Name);
    }

    private static string Scope(RequestContext c) => c.Resource.IsNamespaced ? c.Info.Namespace : "";

    private static async Task CreateAsync(RequestContext c)
    {
        if (c.Resource.IsNamespaced && c.Info.Namespace.Length == 0) throw ApiErrors.MethodNotAllowed();
        var options = c.WriteOptions("CreateOptions");
        var (body, duplicates) = await RequestBody.ObjectWithDuplicatesAsync(c.Request, c.Resource.Kind);
        Semantics.ObjectDecoding.Report(c.View.Requested, duplicates, options);
        var sent = c.View.In(body);
        var created = c.Store.Create(c.Resource, sent, Scope(c), options);
        Responses.Warn(c.Http, options.Warnings!);
        await c.ObjectAsync(201, created);
    }

    private static async Task UpdateAsync(RequestContext c)
    {
        var options = c.WriteOptions("UpdateOptions");
        var sent = c.View.In(await RequestBody.ObjectAsync(c.Request, c.Resource.Kind));
        if (sent.Name().Length > 0 && sent.Name() != c.Info.Name)
            throw ApiErrors.BadRequest($"the name of the object ({sent.Name()}) does not match the name on the URL ({c.Info.Name})");
        if (sent.Name().Length == 0) throw ApiErrors.BadRequest("the name of the object (name is required) does not match the name on the URL (" + c.Info.Name + ")");
        if (c.Resource.IsNamespaced && sent.Namespace().Length > 0 && sent.Namespace() != c.Info.Namespace)
            throw ApiErrors.BadRequest("the namespace of the provided object does not match the namespace sent on the request");
        var exists = c.Store.TryGet(c.Resource.GroupResource, Scope(c), c.Info.Name) is not null;
        if (!exists && c.Info.Subresource.Length == 0 && CreatesOnUpdate(c.Resource))
        {
            await c.ObjectAsync(201, c.Store.Create(c.Resource, sent, Scope(c), options));
            return;
        }
        var updated = c.Store.Write(c.Resource, Scope(c), c.Info.Name, c.Info.Subresource, _ => sent, options);
        Responses.Warn(c.Http, options.Warnings!);
        await c.ObjectAsync(200, updated);
    }

    private static bool CreatesOnUpdate(ApiResource r) => r is { Group: "", Plural: "endpoints" or "events" or "limitranges" } or { Group: "rbac.authorization.k8s.io" };

    private static async Task PatchAsync(RequestContext c)
    {
        var type = RequestBody.ContentType(c.Request);
        var bytes = await RequestBody.BytesAsync(c.Request);
        if (type == "application/apply-patch+yaml")
        {
            await ApplyAsync(c, bytes);
            return;
        }
        if (type is not ("application/json-patch+json" or "application/merge-patch+json" or "application/strategic-merge-patch+json"))
            throw new ApiException(415, "UnsupportedMediaType", "415: Unsupported Media Type", []);
        if (type == "application/strategic-merge-patch+json" && (c.Resource.IsCustom || c.Resource.Type is null))
            throw new ApiException(415, "UnsupportedMediaType",
                "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml");
        var options = c.WriteOptions("PatchOptions");
        if (options.Force) throw ApiErrors.Invalid("meta.k8s.io", "PatchOptions", "", [FieldError.Forbidden("force", "may not be specified for non-apply patch")]);
        var patched = c.Store.Write(c.Resource, Scope(c), c.Info.Name, c.Info.Subresource, current => Patched(c, current, type, bytes), options);
        Responses.Warn(c.Http, options.Warnings!);
        await c.ObjectAsync(200, patched);
    }

    /// <summary>The object after a patch. Identity in its metadata may not change.</summary>
    public static JsonObject Patched(RequestContext c, JsonObject current, string type, byte[] bytes)
    {
        var target = c.View.Out(current).Copy();
        var patch = ParsePatch(bytes);
        switch (type)
        {
            case "application/json-patch+json":
                target = JsonPatch.Apply(target, patch as JsonArray ?? throw ApiErrors.BadRequest("error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"));
                break;
            case "application/merge-patch+json":
                MergePatch.Apply(target, patch as JsonObject ?? throw ApiErrors.BadRequest("json: cannot unmarshal array into Go value of type map[string]interface {}"));
                break;
            default:
                target = StrategicMergePatch.Apply(target, patch as JsonObject ?? throw ApiErrors.BadRequest("json: cannot unmarshal array into Go value of type map[string]interface {}"), c.Resource.Type);
                break;
        }
        if (target.Name() != current.Name()) throw ApiErrors.BadRequest($"the name of the object ({target.Name()}) does not match the name on the URL ({current.Name()})");
        if (target.Uid() is { Length: > 0 } uid && uid != current.Uid())
        {
            var error = FieldError.InvalidText("metadata.uid", uid, "field is immutable");
            throw ApiErrors.Invalid(c.Resource.Group, c.Resource.Kind, current.Name(), [error, error]);
        }
        return c.View.In(target);
    }

    private static JsonNode ParsePatch(byte[] bytes)
    {
        try
        {
            return JsonNode.Parse(bytes) ?? throw ApiErrors.BadRequest("the patch is null");
        }
        catch (JsonException e)
        {
            throw ApiErrors.BadRequest($"error decoding patch: {RequestBody.Problem(e, bytes)}");
        }
    }

    private static async Task ApplyAsync(RequestContext c, byte[] bytes)
    {
        if (c.Query("fieldManager") is not { Length: > 0 })
            throw ApiErrors.Invalid("meta.k8s.io", "PatchOptions", "", [FieldError.Required("fieldManager", "is required for apply patch")]);
        var options = c.WriteOptions("PatchOptions");
        var applied = YamlText.Parse(Encoding.UTF8.GetString(bytes)) as JsonObject ?? throw ApiErrors.BadRequest("error decoding YAML: the applied configuration is not an object");
        if (applied.At("metadata", "managedFields") is JsonArray { Count: > 0 }) throw ApiErrors.BadRequest("metadata.managedFields must be nil");
        var (result, created) = c.Store.Apply(c.Resource, Scope(c), c.Info.Name, c.Info.Subresource, c.View.In(applied), options);
        Responses.Warn(c.Http, options.Warnings!);
        await c.ObjectAsync(created ? 201 : 200, result);
    }

    private static async Task DeleteAsync(RequestContext c)
    {
        var options = await DeleteOptionsAsync(c);
        var result = c.Store.Delete(c.Resource, Scope(c), c.Info.Name, options);
        if (!result.IsRemoved || ReturnsObject(c.Resource))
        {
            await c.ObjectAsync(200, result.Object);
            return;
        }
        var details = new JsonObject { ["name"] = c.Info.Name };
        if (c.Resource.Group.Length > 0) details["group"] = c.Resource.Group;
        details["kind"] = c.Resource.Plural;
        details["uid"] = result.Object.Uid();
        await Responses.ObjectAsync(c.Http, 200, new JsonObject
        {
            ["kind"] = "Status",
            ["apiVersion"] = "v1",
            ["metadata"] = new JsonObject(),
            ["status"] = "Success",
            ["details"] = details,
        });
    }

    private static bool ReturnsObject(ApiResource r) =>
        r is { Group: "", Plural: "pods" or "services" or "serviceaccounts" or "podtemplates" or "persistentvolumes" or "persistentvolumeclaims" or "resourcequotas" };

    private static async Task DeleteCollectionAsync(RequestContext c)
    {
        if (c.Resource.Verbs.Contains("deletecollection", StringComparer.Ordinal) is false || (c.Resource.IsNamespaced && c.Info.Namespace.Length == 0)) throw ApiErrors.MethodNotAllowed();
        var options = await DeleteOptionsAsync(c);
        var deleted = c.Store.DeleteCollection(c.Resource, c.Selection(), options);
        await ListRequests.AnswerAsync(c, deleted);
    }

    private static async Task<DeleteOptions> DeleteOptionsAsync(RequestContext c)
    {
        var body = await RequestBody.OptionalAsync(c.Request, "DeleteOptions");
        var policy = body.Text("propagationPolicy") ?? c.Query("propagationPolicy");
        var orphan = body.Flag("orphanDependents") ?? (c.Query("orphanDependents") is { } o ? RequestInfo.IsTrue(o) : null);
        if (policy is not (null or "Foreground" or "Background" or "Orphan"))
            throw ApiErrors.Invalid("meta.k8s.io", "DeleteOptions", "",
                [new FieldError("FieldValueNotSupported", "propagationPolicy", $"Unsupported value: \"{policy}\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"")]);
        var dryRun = body.Texts("dryRun").Concat(c.Request.Query["dryRun"].OfType<string>()).ToList();
        return new DeleteOptions
        {
            GracePeriodSeconds = body.Number("gracePeriodSeconds") ?? (long.TryParse(c.Query("gracePeriodSeconds"), out var grace) ? grace : null),
            Propagation = policy switch { "Foreground" => Propagation.Foreground, "Orphan" => Propagation.Orphan, "Background" => Propagation.Background, _ => orphan == true ? Propagation.Orphan : null },
            Uid = body.Text("preconditions", "uid"),
            ResourceVersion = body.Text("preconditions", "resourceVersion"),
            IsDryRun = RequestContext.IsDryRun("DeleteOptions", dryRun),
        };
    }
}
