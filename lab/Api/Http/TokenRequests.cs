using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Access;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Schema;
using AmbientMesh.Lab.Api.Semantics;
using AmbientMesh.Lab.Api.Semantics.Ownership;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>POST serviceaccounts/NAME/token.</summary>
internal static class TokenRequests
{
    private static readonly GroupResource Accounts = new("", "serviceaccounts");
    private static readonly SchemaType Type = SchemaTable.Get("authentication.v1.TokenRequest");
    private static readonly ApiResource Resource = new()
    {
        Group = "authentication.k8s.io",
        Version = "v1",
        Plural = "serviceaccounts",
        Singular = "serviceaccount",
        Kind = "TokenRequest",
        IsNamespaced = true,
        Type = Type,
    };

    public static async Task HandleAsync(RequestContext c)
    {
        if (c.Info.Verb != "create") throw ApiErrors.MethodNotAllowed();
        var options = c.WriteOptions("CreateOptions");
        var request = await RequestBody.ObjectAsync(c.Request, "TokenRequest");
        request["kind"] ??= "TokenRequest";
        request["apiVersion"] ??= "authentication.k8s.io/v1";
        request = ObjectDecoding.Accept(Resource, request, options);
        var account = c.Store.Get(Accounts, c.Info.Namespace, c.Info.Name);
        var spec = request.Ensure("spec");
        spec.Default("expirationSeconds", 3600);
        CheckLifetime(spec.Number("expirationSeconds") ?? 3600);
        FieldOwnership.RecordUpdate(Resource, null, request, options, "token", c.Store.Clock.GetUtcNow());
        var bound = Bound(c, spec.Map("boundObjectRef"));
        var audiences = spec.Texts("audiences").ToList();
        if (audiences.Count == 0) spec["audiences"] = new JsonArray(ServiceAccountTokens.Issuer);
        var (token, expires) = c.Server.Tokens.Issue(c.Info.Namespace, c.Info.Name, audiences, TimeSpan.FromSeconds(spec.Number("expirationSeconds")!.Value), bound);

        var metadata = request.Ensure("metadata");
        metadata["name"] = account.Name();
        metadata["namespace"] = account.Namespace();
        metadata["uid"] = account.Uid();
        metadata["creationTimestamp"] = KubernetesTime.Seconds(c.Store.Clock.GetUtcNow());
        request["status"] = new JsonObject { ["token"] = token, ["expirationTimestamp"] = KubernetesTime.Seconds(expires) };
        await Responses.ObjectAsync(c.Http, 201, CanonicalForm.Of(request, Type));
    }

    private static void CheckLifetime(long seconds)
    {
        var problem = seconds < 600 ? "may not specify a duration less than 10 minutes" : seconds > 1L << 32 ? "may not specify a duration larger than 2^32 seconds" : null;
        if (problem is not null)
            throw ApiErrors.Invalid("authentication.k8s.io", "TokenRequest", "", [FieldError.Invalid("spec.expirationSeconds", $"{seconds}", problem)]);
    }

    private static (string Kind, JsonObject Object)? Bound(RequestContext c, JsonObject? reference)
    {
        if (reference is null) return null;
        var kind = reference.Text("kind") ?? "";
        var version = reference.Text("apiVersion") ?? "";
        if (kind is not ("Pod" or "Secret" or "Node") || version is not ("v1" or ""))
            throw ApiErrors.BadRequest($"cannot bind token to object of type {(version.Contains('/', StringComparison.Ordinal) ? version : "/" + version)}, Kind={kind}");
        var name = reference.Text("name") ?? "";
        var o = c.Store.Get(new GroupResource("", kind.ToLowerInvariant() + "s"), kind == "Node" ? "" : c.Info.Namespace, name);
        if (reference.Text("uid") is { Length: > 0 } uid && uid != o.Uid())
            throw ApiErrors.PreconditionFailed(kind, name,
                $"the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated");
        if (kind == "Pod" && (o.Text("spec", "serviceAccountName") ?? "") != c.Info.Name)
            throw ApiErrors.BadRequest($"cannot bind token for serviceaccount {FieldError.Quote(c.Info.Name)} to pod running with different serviceaccount name.");
        return (kind, o);
    }
}
