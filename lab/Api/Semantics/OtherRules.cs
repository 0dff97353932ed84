using System.Text;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.Semantics;

/// <summary>A rule that only fills in defaults.</summary>
internal sealed class DefaultsOnly(Action<JsonObject> defaults, bool hasGeneration = false, bool keepsStatus = false, Func<string, string?>? name = null) : KindRule
{
    public override bool HasGeneration => hasGeneration;
    public override bool KeepsStatusOnCreate => keepsStatus;
    public override void Default(JsonObject o) => defaults(o);
    public override string? NameProblem(string candidate) => name is null ? base.NameProblem(candidate) : name(candidate);
}

/// <summary>Namespaces live until their content is gone (<c>spec.finalizers</c>).</summary>
internal sealed class NamespaceRule : KindRule
{
    public override string? NameProblem(string name) => Names.LabelProblem(name);

    public override void Default(JsonObject o)
    {
        if (o.Name().Length > 0) o.Metadata().Ensure("labels")["kubernetes.io/metadata.name"] = o.Name();
    }

    public override void OnCreate(JsonObject o, ClusterStore store)
    {
        o["spec"] = new JsonObject { ["finalizers"] = new JsonArray("kubernetes") };
        o["status"] = new JsonObject { ["phase"] = "Active" };
    }

    public override void OnUpdate(JsonObject o, JsonObject old, ClusterStore store) => o["spec"] = JsonTree.CopyNode(old["spec"]);

    public override bool IsHeld(JsonObject o) => o.List("spec", "finalizers") is { Count: > 0 };

    public override void OnTerminating(JsonObject o)
    {
        o.Metadata().Remove("deletionGracePeriodSeconds");
        o.Ensure("status")["phase"] = "Terminating";
    }
}

/// <summary>ConfigMaps and Secrets: size, immutability, <c>stringData</c>.</summary>
internal sealed class DataRule(bool isSecret) : KindRule
{
    private const int LimitBytes = 1 << 20;

    public override void Default(JsonObject o)
    {
        if (!isSecret) return;
        o.Default("type", "Opaque");
        if (o.Map("stringData") is not { } plain) return;
        var data = o.Ensure("data");
        foreach (var (key, value) in plain) data[key] = Convert.ToBase64String(Encoding.UTF8.GetBytes(value.Text() ?? ""));
        o.Remove("stringData");
    }

    public override IEnumerable<FieldError> Validate(JsonObject o, JsonObject? old)
    {
        if (o.Map("data")?.Sum(p => p.Value.Text()?.Length ?? 0) > LimitBytes)
            yield return FieldError.TooLong("[]", $"may not be more than {LimitBytes} bytes");
        foreach (var key in (o.Map("data") ?? []).Select(p => p.Key))
            if (key.Length is 0 or > 253 || !key.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.'))
                yield return FieldError.InvalidText($"data[{key}]", key, "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')");
        if (old is null) yield break;
        if (isSecret && o.Text("type") != old.Text("type")) yield return FieldError.InvalidText("type", o.Text("type") ?? "", "field is immutable");
        if (old.Flag("immutable") != true) yield break;
        if (o.Flag("immutable") != true) yield return FieldError.Forbidden("immutable", "field is immutable when `immutable` is set");
        foreach (var field in (string[])["data", "binaryData"])
            if (!JsonTree.Same(o[field], old[field])) yield return FieldError.Forbidden(field, "field is immutable when `immutable` is set");
    }
}

/// <summary>RoleBindings and ClusterRoleBindings: the role cannot be swapped.</summary>
internal sealed class BindingRule : KindRule
{
    public override string? NameProblem(string name) => name is "." or ".." || name.Contains('/', StringComparison.Ordinal) || name.Contains('%', StringComparison.Ordinal) ? "may not contain '/' or '%'" : null;

    public override void Default(JsonObject o)
    {
        var role = o.Ensure("roleRef");
        if (role.Text("apiGroup") is null or "") role["apiGroup"] = "rbac.authorization.k8s.io";
        foreach (var subject in o.Objects("subjects"))
            if (subject.Text("kind") is "User" or "Group" && subject.Text("apiGroup") is null or "") subject["apiGroup"] = "rbac.authorization.k8s.io";
    }

    public override IEnumerable<FieldError> Validate(JsonObject o, JsonObject? old)
    {
        if (o.Text("roleRef", "name") is not { Length: > 0 }) yield return FieldError.Required("roleRef.name");
        if (o.Text("roleRef", "kind") is not ("Role" or "ClusterRole") and var kind)
            yield return FieldError.Unsupported("roleRef.kind", FieldError.Quote(kind ?? ""), o.Namespace().Length > 0 ? ["ClusterRole", "Role"] : ["ClusterRole"]);
        var index = 0;
        foreach (var subject in o.Objects("subjects"))
        {
            if (subject.Text("name") is not { Length: > 0 }) yield return FieldError.Required($"subjects[{index}].name");
            if (subject.Text("kind") == "ServiceAccount" && subject.Text("namespace") is not { Length: > 0 }) yield return FieldError.Required($"subjects[{index}].namespace");
            index++;
        }
        if (old is not null && !JsonTree.Same(o["roleRef"], old["roleRef"]))
            yield return FieldError.Invalid("roleRef",
                $"{{\"APIGroup\":{Shown(o, "apiGroup")},\"Kind\":{Shown(o, "kind")},\"Name\":{Shown(o, "name")}}}", "cannot change roleRef");
    }

    private static string Shown(JsonObject o, string field) => FieldError.Quote(o.Text("roleRef", field) ?? "");
}

/// <summary>Roles and ClusterRoles: any path-safe name.</summary>
internal sealed class RoleRule : KindRule
{
    public override string? NameProblem(string name) => new BindingRule().NameProblem(name);

    public override IEnumerable<FieldError> Validate(JsonObject o, JsonObject? old)
    {
        var index = 0;
        foreach (var rule in o.Objects("rules"))
        {
            if (!rule.Texts("verbs").Any()) yield return FieldError.Required($"rules[{index}].verbs", "verbs must contain at least one value");
            if (!rule.Texts("nonResourceURLs").Any())
            {
                if (!rule.Texts("apiGroups").Any()) yield return FieldError.Required($"rules[{index}].apiGroups", "resource rules must supply at least one api group");
                if (!rule.Texts("resources").Any()) yield return FieldError.Required($"rules[{index}].resources", "resource rules must supply at least one resource");
            }
            index++;
        }
    }
}
