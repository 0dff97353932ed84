using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Schema;
using AmbientMesh.Lab.Api.Semantics;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.CustomResources;

/// <summary>Objects of custom resources on their way in.</summary>
internal static class CustomObjects
{
    private static readonly SchemaType Metadata = SchemaTable.Get("meta.v1.ObjectMeta");

    /// <summary>Prunes and defaults by the version's schema.</summary>
    public static JsonObject Accept(ApiResource resource, CustomVersion custom, JsonObject o, WriteOptions options)
    {
        var unknown = new List<string>();
        if (o["metadata"] is JsonObject metadata)
        {
            var problems = new TypeCheck(resource.Kind).Run(metadata, Metadata);
            if (problems.WrongType is { } wrong) throw ApiErrors.BadRequest($"{resource.Kind} in version \"{resource.Version}\" cannot be handled as a {resource.Kind}: {wrong.Replace($"{resource.Kind}.", "ObjectMeta.", StringComparison.Ordinal)}");
            unknown.AddRange(problems.Unknown.Select(u => u.Replace("unknown field \"", "unknown field \"metadata.", StringComparison.Ordinal)));
            o["metadata"] = CanonicalForm.Of(metadata, Metadata);
        }
        unknown.AddRange(StructuralSchema.Prune(o, custom.Schema).Select(p => $"unknown field \"{p}\""));
        ObjectDecoding.Report(resource, unknown, options);
        StructuralSchema.Default(o, custom.Schema);
        return o;
    }

    /// <summary>The object with its fields in alphabetical order.</summary>
    public static JsonObject Canonical(JsonObject o) => (JsonObject)Sorted(o)!;

    /// <summary>Everything wrong with the object. Rules run only when its values are well-formed.</summary>
    public static List<FieldError> Validate(CustomVersion custom, JsonObject o, JsonObject? old, bool onlyStatus)
    {
        var schema = custom.Schema;
        var subject = o;
        if (custom.HasStatus && !onlyStatus && o.ContainsKey("status"))
        {
            subject = o.Copy();
            subject.Remove("status");
        }
        var errors = SchemaValidation.Check(subject, schema);
        var blocking = errors.Exists(e => e.Reason is "FieldValueRequired" or "FieldValueTypeInvalid" or "FieldValueTooLong" or "FieldValueTooMany" or "FieldValueNotSupported");
        if (blocking)
        {
            if (HasRules(schema)) errors.Add(FieldError.Invalid("<nil>", "null", "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"));
            return errors;
        }
        errors.AddRange(RuleValidation.Check(subject, old, schema));
        return errors;
    }

    private static bool HasRules(JsonNode? schema) => schema switch
    {
        JsonObject o => o.ContainsKey("x-kubernetes-validations") || o.Any(p => HasRules(p.Value)),
        JsonArray a => a.Any(HasRules),
        _ => false,
    };

    private static JsonNode? Sorted(JsonNode? node)
    {
        switch (node)
        {
            case JsonObject o:
                var result = new JsonObject();
                foreach (var (name, value) in o.OrderBy(p => p.Key, StringComparer.Ordinal)) result[name] = Sorted(value);
                return result;
            case JsonArray list:
                return new JsonArray([.. list.Select(Sorted)]);
            default:
                return JsonTree.CopyNode(node);
        }
    }
}

/// <summary>The rule of one version of a custom resource.</summary>
internal sealed class CustomObjectRule(CustomVersion custom) : KindRule
{
    public override bool HasGeneration => true;
    public override bool AllowsUnconditionalUpdate => false;
    public override bool KeepsStatusOnCreate => !custom.HasStatus;

    /// <summary>Again after the status was dropped: the schema may have a default for it.</summary>
    public override void Default(JsonObject o) => StructuralSchema.Default(o, custom.Schema);

    public override IEnumerable<FieldError> Validate(JsonObject o, JsonObject? old) => CustomObjects.Validate(custom, o, old, onlyStatus: false);
    public override IEnumerable<FieldError> ValidateStatus(JsonObject o, JsonObject old) => CustomObjects.Validate(custom, o, old, onlyStatus: true);

}
