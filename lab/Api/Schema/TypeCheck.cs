using System.Text.Json;
using System.Text.Json.Nodes;

namespace AmbientMesh.Lab.Api.Schema;

/// <summary>Finds fields a built-in kind does not have, and values of another type than theirs.</summary>
internal sealed class TypeCheck(string kind)
{
    private readonly List<string> _unknown = [];
    private string? _wrongType;

    /// <summary><c>Unknown</c>: one line a field. <c>WrongType</c>: the first mismatch in the words of the JSON decoder, or null.</summary>
    public (IReadOnlyList<string> Unknown, string? WrongType) Run(JsonObject o, SchemaType type)
    {
        Struct(o, type, "", "");
        return (_unknown, _wrongType);
    }

    private void Struct(JsonObject o, SchemaType type, string path, string goPath)
    {
        foreach (var (name, value) in o)
        {
            var shape = type.ShapeOf(name);
            if (shape is null) _unknown.Add($"unknown field \"{path}{name}\"");
            else if (value is not null) Value(value, shape, path + name, goPath.Length == 0 ? name : $"{goPath}.{name}");
        }
    }

    private void Value(JsonNode value, FieldShape shape, string path, string goPath)
    {
        var actual = value.GetValueKind();
        switch (shape.Kind)
        {
            case ShapeKind.Struct when value is JsonObject o:
                Struct(o, shape.Type!, path + ".", goPath);
                return;
            case ShapeKind.List when value is JsonArray list:
                for (var i = 0; i < list.Count; i++)
                    if (list[i] is { } item) Value(item, shape.Element!, $"{path}[{i}]", goPath);
                return;
            case ShapeKind.Map when value is JsonObject map:
                foreach (var (key, item) in map)
                    if (item is not null) Value(item, shape.Element!, $"{path}.{key}", goPath);
                return;
        }
        var expected = shape.Kind switch
        {
            ShapeKind.Struct => actual == JsonValueKind.Object ? null : shape.Type!.Name[..shape.Type.Name.LastIndexOf('.')].Split('.')[^1] + "." + shape.Type.Name.Split('.')[^1],
            ShapeKind.List => "[]" + GoName(shape.Element!),
            ShapeKind.Map => "map[string]" + GoName(shape.Element!),
            ShapeKind.Text or ShapeKind.Bytes when actual != JsonValueKind.String => "string",
            ShapeKind.Boolean when actual is not (JsonValueKind.True or JsonValueKind.False) => "bool",
            ShapeKind.Int32 when actual != JsonValueKind.Number => "int32",
            ShapeKind.Int64 when actual != JsonValueKind.Number => "int64",
            ShapeKind.Time or ShapeKind.MicroTime when actual != JsonValueKind.String => "string",
            _ => null,
        };
        if (expected is not null)
            _wrongType ??= $"json: cannot unmarshal {JsonName(actual)} into Go struct field {kind}.{goPath} of type {expected}";
        else if (shape.Kind is ShapeKind.Time or ShapeKind.MicroTime)
            CheckTime(value.ToString(), shape.Kind);
    }

    private void CheckTime(string text, ShapeKind shape)
    {
        var layout = shape == ShapeKind.Time ? "2006-01-02T15:04:05Z07:00" : "2006-01-02T15:04:05.000000Z07:00";
        if (Objects.KubernetesTime.Parse(text) is null)
            _wrongType ??= $"parsing time \"{text}\" as \"{layout}\": cannot parse \"{text}\" as \"2006\"";
        else if (shape == ShapeKind.MicroTime && !System.Text.RegularExpressions.Regex.IsMatch(text, @"T\d\d:\d\d:\d\d\.\d{6}(Z|[+-])"))
            _wrongType ??= $"parsing time \"{text}\" as \"{layout}\": cannot parse \"{text[Math.Min(19, text.Length)..]}\" as \".000000\"";
    }

    private static string GoName(FieldShape shape) => shape.Kind switch
    {
        ShapeKind.Text => "string",
        ShapeKind.Struct => "v1." + shape.Type!.Name.Split('.')[^1],
        ShapeKind.Int32 => "int32",
        ShapeKind.Int64 => "int64",
        ShapeKind.Boolean => "bool",
        ShapeKind.Bytes => "[]uint8",
        _ => "interface {}",
    };

    private static string JsonName(JsonValueKind kind) => kind switch
    {
        JsonValueKind.String => "string",
        JsonValueKind.Number => "number",
        JsonValueKind.True or JsonValueKind.False => "bool",
        JsonValueKind.Array => "array",
        _ => "object",
    };
}
