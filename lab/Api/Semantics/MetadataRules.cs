using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Api.Semantics;

/// <summary>What holds for the metadata of every object.</summary>
internal static class MetadataRules
{
    private static readonly HashSet<string> StandardFinalizers = new(StringComparer.Ordinal) { "orphan", "foregroundDeletion", "kubernetes", CustomResources.DefinitionRule.CleanupFinalizer };

    public static IEnumerable<FieldError> Validate(ApiResource resource, KindRule rule, JsonObject o, JsonObject? old)
    {
        if (old is null)
        {
            if (o.Text("metadata", "generateName") is { Length: > 0 } prefix && rule.NameProblem(prefix.TrimEnd('-', '.')) is { } prefixProblem)
                yield return FieldError.InvalidText("metadata.generateName", prefix, prefixProblem);
            if (o.Name().Length == 0) yield return FieldError.Required("metadata.name", "name or generateName is required");
            else if (rule.NameProblem(o.Name()) is { } problem) yield return FieldError.InvalidText("metadata.name", o.Name(), problem);
        }
        foreach (var error in Labels(o, "metadata.labels")) yield return error;
        foreach (var key in o.Map("metadata", "annotations")?.Select(p => p.Key) ?? [])
            if (Names.QualifiedNameProblem(key.ToLowerInvariant()) is { } problem) yield return FieldError.InvalidText("metadata.annotations", key, problem);
        foreach (var error in Owners(o)) yield return error;
        foreach (var error in Finalizers(o, old)) yield return error;
    }

    private static IEnumerable<FieldError> Labels(JsonObject o, string path)
    {
        foreach (var (key, value) in o.Map("metadata", "labels") ?? [])
        {
            if (Names.QualifiedNameProblem(key) is { } problem) yield return FieldError.InvalidText(path, key, problem);
            if (Names.LabelValueProblem(value.Text() ?? "") is { } bad) yield return FieldError.InvalidText(path, value.Text() ?? "", bad);
        }
    }

    private static IEnumerable<FieldError> Owners(JsonObject o)
    {
        const string path = "metadata.ownerReferences";
        foreach (var owner in o.OwnerReferences())
        {
            if (owner.Text("apiVersion") is not { Length: > 0 }) yield return FieldError.InvalidText(path + ".apiVersion", "", "version must not be empty");
            if (owner.Text("kind") is not { Length: > 0 }) yield return FieldError.InvalidText(path + ".kind", "", "must not be empty");
            if (owner.Text("name") is not { Length: > 0 }) yield return FieldError.InvalidText(path + ".name", "", "must not be empty");
            if (owner.Text("uid") is not { Length: > 0 }) yield return FieldError.InvalidText(path + ".uid", "", "must not be empty");
        }
        var controllers = o.OwnerReferences().Where(r => r.Flag("controller") == true).ToList();
        if (controllers.Count > 1)
            yield return FieldError.Invalid(path, o.List("metadata", "ownerReferences")!.ToJsonString(),
                $"Only one reference can have Controller set to true. Found \"true\" in references for {controllers[0].Text("kind")}/{controllers[0].Text("name")} and {controllers[1].Text("kind")}/{controllers[1].Text("name")}");
    }

    private static IEnumerable<FieldError> Finalizers(JsonObject o, JsonObject? old)
    {
        var index = 0;
        foreach (var finalizer in o.Finalizers())
        {
            if (!StandardFinalizers.Contains(finalizer))
            {
                if (Names.QualifiedNameProblem(finalizer) is { } problem) yield return FieldError.InvalidText("metadata.finalizers", finalizer, problem);
                else if (!finalizer.Contains('/', StringComparison.Ordinal))
                    yield return FieldError.InvalidText($"metadata.finalizers[{index}]", finalizer, "name is neither a standard finalizer name nor is it fully qualified");
            }
            index++;
        }
        if (old?.IsTerminating() != true) yield break;
        var added = o.Finalizers().Except(old.Finalizers(), StringComparer.Ordinal).Select(FieldError.Quote).ToList();
        if (added.Count == 0) yield break;
        // Kubernetes checks this twice and reports both.
        var refusal = FieldError.Forbidden("metadata.finalizers",
            $"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{string.Join(", ", added)}}}");
        yield return refusal;
        yield return refusal;
    }
}

/// <summary>Conditions of a pod's status.</summary>
public static class PodConditions
{
    /// <summary>Sets a condition; its transition time moves only when the status does.</summary>
    public static void Set(JsonObject pod, string type, string status, DateTimeOffset now, string? reason = null, string? message = null)
    {
        var conditions = pod.Ensure("status")["conditions"] as JsonArray;
        if (conditions is null) pod.Ensure("status")["conditions"] = conditions = [];
        var condition = conditions.OfType<JsonObject>().FirstOrDefault(c => c.Text("type") == type);
        if (condition is null) conditions.Add(condition = new JsonObject { ["type"] = type });
        if (condition.Text("status") != status) condition["lastTransitionTime"] = KubernetesTime.Seconds(now);
        condition["status"] = status;
        Write(condition, "reason", reason);
        Write(condition, "message", message);
    }

    private static void Write(JsonObject condition, string field, string? value)
    {
        if (value is null) condition.Remove(field);
        else condition[field] = value;
    }
}
