using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Semantics;

namespace AmbientMesh.Lab.Api.Access;

/// <summary>Nobody hands out more than they hold: roles need their rules or <c>escalate</c>, bindings the role's rules or <c>bind</c>.</summary>
internal sealed class EscalationCheck(Authorizer authorizer)
{
    private const string Rbac = "rbac.authorization.k8s.io";

    /// <summary>Throws 403 naming the rules that go too far.</summary>
    public void Check(AdmissionRequest r)
    {
        if (r.Options.User is not { } user || r.Resource.Group != Rbac) return;
        var ns = r.Object.Namespace();
        var unchanged = r.Old is not null && JsonTree.Same(r.Old["rules"], r.Object["rules"]) && JsonTree.Same(r.Old["subjects"], r.Object["subjects"]);
        if (unchanged) return;
        var isBinding = r.Resource.Plural is "rolebindings" or "clusterrolebindings";
        var role = isBinding ? r.Object.Text("roleRef", "kind") == "Role" ? "roles" : "clusterroles" : r.Resource.Plural;
        var name = isBinding ? r.Object.Text("roleRef", "name") ?? "" : r.Object.Name();
        if (authorizer.Allows(new AccessAttempt(user, isBinding ? "bind" : "escalate", Rbac, role, "", ns, name)) is not null) return;
        var handedOut = isBinding ? authorizer.RulesOf(r.Object, ns) : r.Object.Objects("rules");
        var beyond = authorizer.Beyond(user, ns, handedOut).Select(Shown).ToList();
        if (beyond.Count == 0) return;
        throw ApiErrors.Forbidden(r.Resource.GroupResource, r.Object.Name(),
            $"user {FieldError.Quote(user.Name)} (groups=[{string.Join(" ", user.Groups.Select(FieldError.Quote))}]) is attempting to grant RBAC permissions not currently held:\n{string.Join('\n', beyond)}");
    }

    private static string Shown(JsonObject rule)
    {
        var parts = ((string, string)[])[("APIGroups", "apiGroups"), ("Resources", "resources"), ("ResourceNames", "resourceNames"), ("NonResourceURLs", "nonResourceURLs"), ("Verbs", "verbs")];
        return "{" + string.Join(", ", parts.Where(p => rule.Texts(p.Item2).Any()).Select(p => $"{p.Item1}:[{string.Join(" ", rule.Texts(p.Item2).Select(FieldError.Quote))}]")) + "}";
    }
}
