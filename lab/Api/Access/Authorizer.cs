using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.Access;

/// <summary>What somebody wants to do.</summary>
/// <param name="Path">Set for paths that are no resource.</param>
public sealed record AccessAttempt(UserInfo User, string Verb, string Group = "", string Resource = "", string Subresource = "", string Namespace = "", string Name = "", string? Path = null);

/// <summary>Role-based access control over the store's Roles and bindings: everything not granted is refused.</summary>
public sealed class Authorizer(ClusterStore store)
{
    private const string Rbac = "rbac.authorization.k8s.io";
    private static readonly GroupResource ClusterRoles = new(Rbac, "clusterroles");
    private static readonly GroupResource Roles = new(Rbac, "roles");
    private static readonly GroupResource ClusterRoleBindings = new(Rbac, "clusterrolebindings");
    private static readonly GroupResource RoleBindings = new(Rbac, "rolebindings");

    /// <summary>Why the attempt is allowed (empty for the cluster's masters); null when it is not.</summary>
    public string? Allows(AccessAttempt attempt)
    {
        if (attempt.User.Groups.Contains("system:masters", StringComparer.Ordinal)) return "";
        foreach (var (rule, source) in Grants(attempt.User, attempt.Path is null ? attempt.Namespace : ""))
            if (Covers(rule, attempt)) return source;
        return null;
    }

    /// <summary>Every rule a user has cluster-wide and, when <paramref name="ns"/> is not empty, in that namespace.</summary>
    public IEnumerable<(JsonObject Rule, string Source)> Grants(UserInfo user, string ns)
    {
        foreach (var binding in store.List(ClusterRoleBindings).Items)
        {
            if (SubjectOf(binding, user, "") is not { } subject) continue;
            foreach (var rule in RulesOf(binding, ""))
                yield return (rule, $"RBAC: allowed by ClusterRoleBinding \"{binding.Name()}\" of {Role(binding)} to {subject}");
        }
        if (ns.Length == 0) yield break;
        foreach (var binding in store.List(RoleBindings, new Selection(ns)).Items)
        {
            if (SubjectOf(binding, user, ns) is not { } subject) continue;
            foreach (var rule in RulesOf(binding, ns))
                yield return (rule, $"RBAC: allowed by RoleBinding \"{binding.Name()}/{ns}\" of {Role(binding)} to {subject}");
        }
    }

    private static string Role(JsonObject binding) => $"{binding.Text("roleRef", "kind")} \"{binding.Text("roleRef", "name")}\"";

    /// <summary>The rules of the role a binding names; none when the role is missing.</summary>
    public IEnumerable<JsonObject> RulesOf(JsonObject binding, string ns)
    {
        var name = binding.Text("roleRef", "name") ?? "";
        var role = binding.Text("roleRef", "kind") == "Role" ? store.TryGet(Roles, ns, name) : store.TryGet(ClusterRoles, "", name);
        return role.Objects("rules");
    }

    private static string? SubjectOf(JsonObject binding, UserInfo user, string ns)
    {
        foreach (var subject in binding.Objects("subjects"))
        {
            var name = subject.Text("name") ?? "";
            switch (subject.Text("kind"))
            {
                case "User" when user.Name == name:
                    return $"User \"{name}\"";
                case "Group" when user.Groups.Contains(name, StringComparer.Ordinal):
                    return $"Group \"{name}\"";
                case "ServiceAccount":
                    var scope = subject.Text("namespace") is { Length: > 0 } own ? own : ns;
                    if (user.Name == $"system:serviceaccount:{scope}:{name}") return $"ServiceAccount \"{name}/{scope}\"";
                    break;
            }
        }
        return null;
    }

    /// <summary>Whether one rule covers the attempt.</summary>
    public static bool Covers(JsonObject rule, AccessAttempt attempt)
    {
        if (!Has(rule, "verbs", attempt.Verb)) return false;
        if (attempt.Path is { } path) return rule.Texts("nonResourceURLs").Any(u => u == "*" || u == path || (u.EndsWith('*') && path.StartsWith(u[..^1], StringComparison.Ordinal)));
        if (!Has(rule, "apiGroups", attempt.Group)) return false;
        var names = rule.Texts("resourceNames").ToList();
        if (names.Count > 0 && !names.Contains(attempt.Name, StringComparer.Ordinal)) return false;
        var wanted = attempt.Subresource.Length == 0 ? attempt.Resource : $"{attempt.Resource}/{attempt.Subresource}";
        return rule.Texts("resources").Any(r => r == "*" || r == wanted || (attempt.Subresource.Length > 0 && r == $"*/{attempt.Subresource}"));
    }

    private static bool Has(JsonObject rule, string field, string value) => rule.Texts(field).Any(v => v == "*" || v == value);

    /// <summary>The rules among <paramref name="wanted"/> that <paramref name="user"/> does not hold and so may not hand out.</summary>
    public IEnumerable<JsonObject> Beyond(UserInfo user, string ns, IEnumerable<JsonObject> wanted)
    {
        if (user.Groups.Contains("system:masters", StringComparer.Ordinal)) return [];
        var held = Grants(user, ns).Select(g => g.Rule).ToList();
        return wanted.Where(w => !Single(w, user, ns).All(a => held.Any(h => Covers(h, a))));
    }

    private static IEnumerable<AccessAttempt> Single(JsonObject rule, UserInfo user, string ns)
    {
        foreach (var verb in rule.Texts("verbs"))
        {
            foreach (var url in rule.Texts("nonResourceURLs")) yield return new AccessAttempt(user, verb, Path: url);
            foreach (var group in rule.Texts("apiGroups"))
                foreach (var resource in rule.Texts("resources"))
                    foreach (var name in rule.Texts("resourceNames").DefaultIfEmpty(""))
                    {
                        var slash = resource.IndexOf('/', StringComparison.Ordinal);
                        yield return new AccessAttempt(user, verb, group, slash < 0 ? resource : resource[..slash], slash < 0 ? "" : resource[(slash + 1)..], ns, name);
                    }
        }
    }
}
