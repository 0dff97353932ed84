using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Access;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;
using Microsoft.AspNetCore.Http;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>One request for a resource, with what it resolved to.</summary>
internal sealed class RequestContext
{
    public required HttpContext Http { get; init; }
    public required RequestInfo Info { get; init; }
    public required UserInfo User { get; init; }
    public required ApiServer Server { get; init; }
    public required ResourceView View { get; init; }

    public HttpRequest Request => Http.Request;
    public ClusterStore Store => Server.Store;
    public ApiResource Resource => View.Stored;
    public CancellationToken Aborted => Http.RequestAborted;

    public string? Query(string name) => Request.Query.TryGetValue(name, out var values) ? values[0] : null;

    /// <summary>Options of a write; <paramref name="kind"/> names them in errors (CreateOptions, …).</summary>
    public WriteOptions WriteOptions(string kind)
    {
        var validation = Query("fieldValidation");
        if (validation is not (null or "" or "Ignore" or "Warn" or "Strict"))
            throw ApiErrors.Invalid("meta.k8s.io", kind, "", [FieldError.Unsupported("fieldValidation", FieldError.Quote(validation), ["", "Ignore", "Strict", "Warn"])]);
        return new WriteOptions
        {
            FieldManager = FieldManager(),
            IsDryRun = IsDryRun(kind, Request.Query["dryRun"].OfType<string>().ToList()),
            Validation = validation switch { "Ignore" => FieldValidation.Ignore, "Strict" => FieldValidation.Strict, _ => FieldValidation.Warn },
            Force = Query("force") is { } force && RequestInfo.IsTrue(force),
            User = User,
            Warnings = [],
            Version = View.Requested.Version,
        };
    }

    public static bool IsDryRun(string kind, IReadOnlyList<string> values)
    {
        if (values.Count == 0) return false;
        if (values is ["All"]) return true;
        throw ApiErrors.Invalid("meta.k8s.io", kind, "", [FieldError.Unsupported("dryRun", "[" + string.Join(",", values.Select(FieldError.Quote)) + "]", ["All"])]);
    }

    private string FieldManager()
    {
        if (Query("fieldManager") is { Length: > 0 } manager) return manager;
        var agent = Request.Headers.UserAgent.ToString().Split('/')[0];
        return agent.Length == 0 ? "unknown" : agent;
    }

    public Selection Selection()
    {
        var fields = FieldSelector.Parse(Query("fieldSelector"));
        FieldSelectors.Check(View.Requested, fields);
        return new Selection(Resource.IsNamespaced && Info.Namespace.Length > 0 ? Info.Namespace : null, LabelSelector.Parse(Query("labelSelector")), View.Fields(fields));
    }

    /// <summary>Answers with an object in the form the client asked for.</summary>
    public Task ObjectAsync(int code, JsonObject stored)
    {
        var accept = Negotiation.Of(Request, Resource.IsCustom);
        var shown = View.Out(stored);
        JsonNode body = accept.Form switch
        {
            ObjectForm.Table => Tables.TableWriter.Of(this, [shown], shown.At("metadata", "resourceVersion").Text()),
            ObjectForm.PartialMetadata => PartialMetadata.Of(shown),
            _ => shown,
        };
        return Responses.ObjectAsync(Http, code, body, accept.Yaml);
    }
}

/// <summary>Objects reduced to their metadata.</summary>
internal static class PartialMetadata
{
    public static JsonObject Of(JsonObject o) => new()
    {
        ["kind"] = "PartialObjectMetadata",
        ["apiVersion"] = "meta.k8s.io/v1",
        ["metadata"] = JsonTree.CopyNode(o["metadata"]),
    };
}
