using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.CustomResources;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Schema;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.Semantics;

/// <summary>From what a client sent to what the kind can hold.</summary>
internal static class ObjectDecoding
{
    /// <summary>Checks kind, types and unknown fields, and returns the canonical form (400 when the object cannot be read as its kind).</summary>
    public static JsonObject Accept(ApiResource resource, JsonObject o, WriteOptions options)
    {
        var kind = o.Kind();
        var version = o.ApiVersion();
        if (resource.IsCustom && kind != resource.Kind && version == resource.ApiVersion)
            throw ApiErrors.Invalid(resource.Group, kind, o.Name(), [FieldError.InvalidText("kind", kind, $"must be {resource.Kind}")]);
        if (kind != resource.Kind && kind.Length > 0) throw WrongKind(resource, kind, version);
        if (version.Length > 0 && version != resource.ApiVersion)
        {
            if (resource.IsCustom && version.StartsWith(resource.Group + "/", StringComparison.Ordinal) && options.User is null) o["apiVersion"] = resource.ApiVersion;
            else throw ApiErrors.BadRequest($"the API version in the data ({version}) does not match the expected API version ({resource.ApiVersion})");
        }
        if (resource.Custom is { } custom) return CustomObjects.Accept(resource, custom, o, options);
        if (resource.Type is null) return o;
        var problems = new TypeCheck(resource.Kind).Run(o, resource.Type);
        if (problems.WrongType is { } wrong) throw ApiErrors.BadRequest($"{resource.Kind} in version \"{resource.Version}\" cannot be handled as a {resource.Kind}: {wrong}");
        Report(resource, problems.Unknown, options);
        return CanonicalForm.Of(o, resource.Type);
    }

    /// <summary>Unknown fields, as <see cref="WriteOptions.Validation"/> wants them treated.</summary>
    public static void Report(ApiResource resource, IReadOnlyList<string> problems, WriteOptions options)
    {
        if (problems.Count == 0 || options.Validation == FieldValidation.Ignore) return;
        if (options.Validation == FieldValidation.Strict)
            throw ApiErrors.BadRequest($"{resource.Kind} in version \"{resource.Version}\" cannot be handled as a {resource.Kind}: strict decoding error: {string.Join(", ", problems)}");
        options.Warnings?.AddRange(problems);
    }

    private static ApiException WrongKind(ApiResource resource, string kind, string version)
    {
        var v = version.Contains('/', StringComparison.Ordinal) ? version[(version.IndexOf('/', StringComparison.Ordinal) + 1)..] : version;
        return resource.IsCustom
            ? ApiErrors.BadRequest($"{kind} in version \"{v}\" cannot be handled as a {resource.Kind}: converting (v1.{kind}) to ({resource.Group}.{resource.Kind}): unknown conversion")
            : ApiErrors.BadRequest($"{kind} in version \"{v}\" cannot be handled as a {resource.Kind}: converting ({v}.{kind}) to ({(resource.Group.Length == 0 ? "core" : resource.Group.Split('.')[0])}.{resource.Kind}): unknown conversion");
    }

    /// <summary>The object as storage keeps it.</summary>
    public static JsonObject Canonical(ApiResource resource, JsonObject o)
    {
        if (resource.IsCustom) return CustomObjects.Canonical(o);
        return resource.Type is null ? o : CanonicalForm.Of(o, resource.Type);
    }

    /// <summary>A stored object as this version of the resource shows it.</summary>
    public static JsonObject InVersion(ApiResource resource, JsonObject stored)
    {
        if (!resource.IsCustom || stored.ApiVersion() == resource.ApiVersion) return stored;
        var copy = stored.Copy();
        copy["apiVersion"] = resource.ApiVersion;
        return copy;
    }
}
