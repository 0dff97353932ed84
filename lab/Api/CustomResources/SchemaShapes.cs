using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Schema;

namespace AmbientMesh.Lab.Api.CustomResources;

/// <summary>A structural OpenAPI schema as field shapes: what merges by which key, what is owned as one piece.</summary>
internal static class SchemaShapes
{
    /// <summary>Shape of a whole object: the schema's fields plus <c>metadata</c>.</summary>
    public static FieldShape Of(JsonObject? schema)
    {
        var root = new SchemaType("custom");
        var metadata = new FieldShape { Kind = ShapeKind.Struct, Type = SchemaTable.Get("meta.v1.ObjectMeta") };
        root.Add(new SchemaField("apiVersion", 0, FieldShape.Of(ShapeKind.Text), false, false, false));
        root.Add(new SchemaField("kind", 0, FieldShape.Of(ShapeKind.Text), false, false, false));
        root.Add(new SchemaField("metadata", 0, metadata, false, false, false));
        foreach (var (name, property) in schema.Map("properties") ?? []) root.Add(new SchemaField(name, 0, One(property as JsonObject ?? []), true, false, false));
        if (schema is null || schema.Flag("x-kubernetes-preserve-unknown-fields") == true) root.OtherFields = FieldShape.Untyped;
        return new FieldShape { Kind = ShapeKind.Struct, Type = root };
    }

    private static FieldShape One(JsonObject schema)
    {
        if (schema.Flag("x-kubernetes-int-or-string") == true) return FieldShape.Of(ShapeKind.IntOrString);
        if (schema.Flag("x-kubernetes-embedded-resource") == true) return FieldShape.Untyped;
        switch (schema.Text("type"))
        {
            case "object":
                var atomic = schema.Text("x-kubernetes-map-type") == "atomic";
                if (schema.Map("additionalProperties") is { } values) return new FieldShape { Kind = ShapeKind.Map, Element = One(values), IsAtomic = atomic };
                var preserves = schema.Flag("x-kubernetes-preserve-unknown-fields") == true || schema.Flag("additionalProperties") == true;
                if (schema.Map("properties") is not { } properties) return preserves ? FieldShape.Untyped : new FieldShape { Kind = ShapeKind.Struct, Type = new SchemaType("custom"), IsAtomic = atomic };
                var type = new SchemaType("custom") { OtherFields = preserves ? FieldShape.Untyped : null };
                foreach (var (name, property) in properties) type.Add(new SchemaField(name, 0, One(property as JsonObject ?? []), true, false, false));
                return new FieldShape { Kind = ShapeKind.Struct, Type = type, IsAtomic = atomic };
            case "array":
                return new FieldShape
                {
                    Kind = ShapeKind.List,
                    Element = One(schema.Map("items") ?? []),
                    Keys = [.. schema.Texts("x-kubernetes-list-map-keys")],
                    Ownership = schema.Text("x-kubernetes-list-type") switch { "map" => ListOwnership.Map, "set" => ListOwnership.Set, _ => ListOwnership.Atomic },
                };
            case "string":
                return FieldShape.Of(ShapeKind.Text);
            case "integer":
                return FieldShape.Of(ShapeKind.Int64);
            case "number":
                return FieldShape.Of(ShapeKind.Double);
            case "boolean":
                return FieldShape.Of(ShapeKind.Boolean);
            default:
                return FieldShape.Untyped;
        }
    }
}
