using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Schema;

namespace AmbientMesh.Lab.Api.CustomResources;

/// <summary>One served version of a custom resource.</summary>
public sealed class CustomVersion
{
    /// <summary>Name of the CustomResourceDefinition.</summary>
    public required string Definition { get; init; }
    /// <summary><c>openAPIV3Schema</c>; null when the definition has none.</summary>
    public JsonObject? Schema { get; init; }
    /// <summary>The schema as field shapes, for ownership and merging.</summary>
    public FieldShape Shape => field ??= SchemaShapes.Of(Schema);
    internal CustomObjectRule Rule => field ??= new CustomObjectRule(this);
    public required bool HasStatus { get; init; }
    /// <summary>The <c>scale</c> subresource's paths; null without it.</summary>
    public JsonObject? Scale { get; init; }
    public IReadOnlyList<JsonObject> Columns { get; init; } = [];
    public IReadOnlyList<string> SelectableFields { get; init; } = [];
    public required bool IsStorage { get; init; }
    public string? DeprecationWarning { get; init; }
}
