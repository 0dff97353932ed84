using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Access;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Schema;
using AmbientMesh.Lab.Api.Semantics;
using AmbientMesh.Lab.Api.Semantics.Ownership;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>Resources that are questions: TokenReview, access reviews, who am I. Nothing is stored.</summary>
internal static class Reviews
{
    public static async Task HandleAsync(RequestContext c)
    {
        if (c.Info.Verb != "create" || c.Info.Name.Length > 0)
        {
            if (c.Resource.Plural == "componentstatuses" && c.Info.Verb == "list")
            {
                await Responses.ObjectAsync(c.Http, 200, new JsonObject { ["kind"] = "ComponentStatusList", ["apiVersion"] = "v1", ["metadata"] = new JsonObject(), ["items"] = new JsonArray() });
                return;
            }
            throw ApiErrors.MethodNotAllowed();
        }
        var options = c.WriteOptions("CreateOptions");
        var review = await RequestBody.ObjectAsync(c.Request, c.Resource.Kind);
        review["kind"] ??= c.Resource.Kind;
        review["apiVersion"] ??= c.Resource.ApiVersion;
        review = ObjectDecoding.Accept(c.Resource, review, options);
        Responses.Warn(c.Http, options.Warnings!);
        switch (c.Resource.Plural)
        {
            case "tokenreviews":
                FieldOwnership.RecordUpdate(c.Resource, null, review, options, "", c.Store.Clock.GetUtcNow());
                TokenReview(c, review);
                break;
            case "selfsubjectreviews":
                review["metadata"] = new JsonObject { ["creationTimestamp"] = KubernetesTime.Seconds(c.Store.Clock.GetUtcNow()) };
                review["status"] = new JsonObject { ["userInfo"] = c.User.ToJson() };
                break;
            case "selfsubjectrulesreviews":
                RulesReview(c, review);
                break;
            case "bindings":
                await PodActions.BindAsync(c, review);
                return;
            default:
                FieldOwnership.RecordUpdate(c.Resource, null, review, options, "", c.Store.Clock.GetUtcNow());
                AccessReview(c, review);
                break;
        }
        await Responses.ObjectAsync(c.Http, 201, CanonicalForm.Of(review, c.Resource.Type!), Negotiation.Of(c.Request).Yaml);
    }

    private static void TokenReview(RequestContext c, JsonObject review)
    {
        var token = review.Text("spec", "token") ?? "";
        if (token.Length == 0) throw ApiErrors.BadRequest("token is required for TokenReview in authentication");
        var wanted = review.Texts("spec", "audiences").ToList();
        var (user, audiences, error) = c.Server.Tokens.Check(token, wanted.Count == 0 ? [ServiceAccountTokens.Issuer] : wanted);
        var status = new JsonObject();
        if (user is not null)
        {
            status["authenticated"] = true;
            status["user"] = user.ToJson();
            status["audiences"] = new JsonArray([.. audiences.Select(a => (JsonNode)JsonValue.Create(a)!)]);
        }
        else
        {
            status["user"] = new JsonObject();
            status["error"] = error;
        }
        review["status"] = status;
    }

    private static void AccessReview(RequestContext c, JsonObject review)
    {
        var spec = review.Ensure("spec");
        var user = c.User;
        if (c.Resource.Plural != "selfsubjectaccessreviews")
        {
            var extra = spec.Map("extra")?.ToDictionary(p => p.Key, p => (IReadOnlyList<string>)[.. p.Value.Texts()], StringComparer.Ordinal) ?? [];
            user = new UserInfo(spec.Text("user") ?? "", [.. spec.Texts("groups")]) { Uid = spec.Text("uid") ?? "", Extra = extra };
        }
        var errors = new List<FieldError>();
        if (spec.Map("resourceAttributes") is null == (spec.Map("nonResourceAttributes") is null))
            errors.Add(spec.Map("resourceAttributes") is null
                ? FieldError.Invalid("spec.resourceAttributes", "null", "exactly one of nonResourceAttributes or resourceAttributes must be specified")
                : FieldError.Invalid("spec.nonResourceAttributes", spec.Map("nonResourceAttributes")!.ToJsonString(), "cannot be specified in combination with resourceAttributes"));
        if (c.Resource.Plural != "selfsubjectaccessreviews" && user.Name.Length == 0 && user.Groups.Count == 0)
            errors.Add(FieldError.Invalid("spec.user", "\"\"", "at least one of user or group must be specified"));
        if (errors.Count > 0) throw ApiErrors.Invalid(c.Resource.Group, c.Resource.Kind, "", errors);
        var r = spec.Map("resourceAttributes");
        var attempt = r is not null
            ? new AccessAttempt(user, r.Text("verb") ?? "", r.Text("group") ?? "", r.Text("resource") ?? "", r.Text("subresource") ?? "", r.Text("namespace") ?? "", r.Text("name") ?? "")
            : new AccessAttempt(user, spec.Text("nonResourceAttributes", "verb") ?? "", Path: spec.Text("nonResourceAttributes", "path") ?? "");
        var reason = c.Server.Authorizer.Allows(attempt);
        var status = new JsonObject { ["allowed"] = reason is not null };
        if (!string.IsNullOrEmpty(reason)) status["reason"] = reason;
        review["status"] = status;
    }

    private static void RulesReview(RequestContext c, JsonObject review)
    {
        var ns = review.Text("spec", "namespace") ?? "";
        if (ns.Length == 0) throw ApiErrors.BadRequest("no namespace on request");
        var resources = new JsonArray();
        var paths = new JsonArray();
        foreach (var (rule, _) in c.Server.Authorizer.Grants(c.User, ns))
        {
            if (rule.Texts("nonResourceURLs").Any()) paths.Add(new JsonObject { ["verbs"] = JsonTree.CopyNode(rule["verbs"]), ["nonResourceURLs"] = JsonTree.CopyNode(rule["nonResourceURLs"]) });
            else resources.Add(rule.Copy());
        }
        if (c.User.Groups.Contains("system:masters"))
        {
            resources.Insert(0, new JsonObject { ["verbs"] = new JsonArray("*"), ["apiGroups"] = new JsonArray("*"), ["resources"] = new JsonArray("*") });
            paths.Insert(0, new JsonObject { ["verbs"] = new JsonArray("*"), ["nonResourceURLs"] = new JsonArray("*") });
        }
        review["metadata"] = new JsonObject();
        review["spec"] = new JsonObject();
        review["status"] = new JsonObject { ["resourceRules"] = resources, ["nonResourceRules"] = paths, ["incomplete"] = false };
    }
}
