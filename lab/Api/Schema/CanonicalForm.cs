using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Api.Schema;

/// <summary>
/// Writes an object of a built-in kind as the server's own structs would: fields in wire order, nulls and optional zero values left out,
/// mandatory fields present, unknown fields dropped.
/// </summary>
public static class CanonicalForm
{
    /// <summary>A new object in canonical form; the argument stays as it is.</summary>
    public static JsonObject Of(JsonObject source, SchemaType type)
    {
        var result = new JsonObject();
        foreach (var field in type.Fields)
        {
            source.TryGetPropertyValue(field.Name, out var value);
            var canonical = value is null ? null : Value(value, field.Shape);
            if (canonical is null || (IsZero(canonical, field.Shape) && !field.IsPointer))
            {
                if (field.IsAlwaysWritten && !field.IsPointer) result[field.Name] = Zero(field.Shape, canonical);
                else if (field.IsAlwaysWritten) result[field.Name] = null;
            }
            else
            {
                result[field.Name] = canonical;
            }
        }
        return result;
    }

    private static JsonNode? Value(JsonNode value, FieldShape shape)
    {
        switch (shape.Kind)
        {
            case ShapeKind.Struct when value is JsonObject o:
                return Of(o, shape.Type!);
            case ShapeKind.List when value is JsonArray array:
                var list = new JsonArray();
                foreach (var item in array) list.Add(item is null ? null : Value(item, shape.Element!));
                return list;
            case ShapeKind.Map when value is JsonObject map:
                var sorted = new JsonObject();
                foreach (var (key, item) in map.OrderBy(p => p.Key, StringComparer.Ordinal))
                    sorted[key] = item is null ? Zero(shape.Element!, null) : Value(item, shape.Element!);
                return sorted;
            case ShapeKind.Quantity when value is JsonValue v && v.GetValueKind() == System.Text.Json.JsonValueKind.Number:
                return JsonValue.Create(v.ToJsonString());
            default:
                return JsonTree.CopyNode(value);
        }
    }

    private static bool IsZero(JsonNode value, FieldShape shape) => shape.Kind switch
    {
        ShapeKind.Struct => false,
        ShapeKind.List => value is JsonArray { Count: 0 },
        ShapeKind.Map => value is JsonObject { Count: 0 },
        ShapeKind.Text or ShapeKind.Bytes => value.Text() is "",
        ShapeKind.Int32 or ShapeKind.Int64 => value.Number() is 0,
        ShapeKind.Boolean => value.Flag() is false,
        _ => false,
    };

    private static JsonNode? Zero(FieldShape shape, JsonNode? present) => shape.Kind switch
    {
        ShapeKind.Struct => Of([], shape.Type!),
        ShapeKind.List or ShapeKind.Map => present,
        ShapeKind.Text => JsonValue.Create(""),
        ShapeKind.Int32 or ShapeKind.Int64 => JsonTree.Number(0),
        ShapeKind.Boolean => JsonValue.Create(false),
        ShapeKind.IntOrString => JsonTree.Number(0),
        _ => null,
    };
}
