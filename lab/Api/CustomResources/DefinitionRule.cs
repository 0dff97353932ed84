using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Semantics;

namespace AmbientMesh.Lab.Api.CustomResources;

/// <summary>CustomResourceDefinitions themselves.</summary>
internal sealed class DefinitionRule : KindRule
{
    public const string CleanupFinalizer = "customresourcecleanup.apiextensions.k8s.io";

    public override bool HasGeneration => true;
    public override IEnumerable<string> FinalizersOnDelete => [CleanupFinalizer];

    public override void OnTerminating(JsonObject o)
    {
        o.Metadata().Remove("deletionGracePeriodSeconds");
        if (o.Objects("status", "conditions").Any(c => c.Text("type") == "Terminating")) return;
        if (o.Ensure("status")["conditions"] is not JsonArray conditions) o.Ensure("status")["conditions"] = conditions = [];
        conditions.Add(new JsonObject
        {
            ["type"] = "Terminating",
            ["status"] = "True",
            ["lastTransitionTime"] = o.Text("metadata", "deletionTimestamp"),
            ["reason"] = "InstanceDeletionPending",
            ["message"] = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        });
    }

    public override void Default(JsonObject o)
    {
        var spec = o.Ensure("spec");
        var names = spec.Ensure("names");
        if (names.Text("singular") is null or "" && names.Text("kind") is { } kind) names["singular"] = kind.ToLowerInvariant();
        if (names.Text("listKind") is null or "" && names.Text("kind") is { } k) names["listKind"] = k + "List";
        spec.Ensure("conversion").Default("strategy", "None");
    }

    public override void OnCreate(JsonObject o, Storage.ClusterStore store) =>
        o["status"] = new JsonObject
        {
            ["acceptedNames"] = new JsonObject { ["plural"] = "", ["kind"] = "" },
            ["storedVersions"] = new JsonArray([.. o.Objects("spec", "versions").Where(v => v.Flag("storage") == true).Select(v => (JsonNode)JsonValue.Create(v.Text("name"))!)]),
        };

    public override void OnUpdate(JsonObject o, JsonObject old, Storage.ClusterStore store)
    {
        var stored = o.Ensure("status")["storedVersions"] as JsonArray;
        if (stored is null) o.Ensure("status")["storedVersions"] = stored = [];
        foreach (var version in o.Objects("spec", "versions").Where(v => v.Flag("storage") == true).Select(v => v.Text("name") ?? ""))
            if (!stored.Texts().Contains(version, StringComparer.Ordinal)) stored.Add(version);
    }

    public override IEnumerable<FieldError> Validate(JsonObject o, JsonObject? old)
    {
        var plural = o.Text("spec", "names", "plural") ?? "";
        var group = o.Text("spec", "group") ?? "";
        if (o.Name() != $"{plural}.{group}") yield return FieldError.InvalidText("metadata.name", o.Name(), $"must be spec.names.plural+\".\"+spec.group");
        if (group.Length == 0) yield return FieldError.Required("spec.group");
        if (o.Text("spec", "scope") is not ("Namespaced" or "Cluster") and var scope)
            yield return FieldError.Unsupported("spec.scope", FieldError.Quote(scope ?? ""), ["Cluster", "Namespaced"]);
        var versions = o.Objects("spec", "versions").ToList();
        if (versions.Count(v => v.Flag("storage") == true) != 1)
            yield return FieldError.Invalid("spec.versions", "[]", "must have exactly one version marked as storage version");
        for (var i = 0; i < versions.Count; i++)
            if (versions[i].Map("schema", "openAPIV3Schema") is null) yield return FieldError.Required($"spec.versions[{i}].schema.openAPIV3Schema");
        var index = 0;
        foreach (var stored in o.Texts("status", "storedVersions"))
        {
            if (!versions.Exists(v => v.Text("name") == stored))
                yield return FieldError.InvalidText($"status.storedVersions[{index}]", stored,
                    $"missing from spec.versions; {stored} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {stored} and removes {stored} from status.storedVersions");
            index++;
        }
        if (old is not null && o.Text("spec", "scope") != old.Text("spec", "scope"))
            yield return FieldError.InvalidText("spec.scope", o.Text("spec", "scope") ?? "", "field is immutable");
    }
}
