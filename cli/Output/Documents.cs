using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace AmbientMesh.Cli.Output;

/// <summary>Writes an answer as indented JSON, or as YAML.</summary>
public static class Documents
{
    private static readonly JsonWriterOptions Indented = new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static void Write(TextWriter output, OutputFormat format, JsonNode document)
    {
        if (format == OutputFormat.Yaml) output.Write(Yaml(document));
        else output.WriteLine(Json(document));
    }

    public static string Json(JsonNode document)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, Indented)) document.WriteTo(json);
        return Encoding.UTF8.GetString(buffer.ToArray());
    }

    /// <summary>Block style; every string that could be read as something else is quoted as JSON quotes it, which YAML 1.2 reads alike.</summary>
    public static string Yaml(JsonNode document)
    {
        var text = new StringBuilder();
        Append(text, document, 0, isInline: false);
        return text.ToString();
    }

    private static void Append(StringBuilder text, JsonNode? node, int depth, bool isInline)
    {
        switch (node)
        {
            case JsonObject { Count: > 0 } map:
                var first = isInline;
                foreach (var (key, value) in map)
                {
                    if (!first) text.Append(' ', depth * 2);
                    first = false;
                    text.Append(Scalar(key)).Append(':');
                    AppendValue(text, value, depth + 1);
                }
                break;
            case JsonArray { Count: > 0 } list:
                foreach (var item in list)
                {
                    text.Append(' ', depth * 2).Append("- ");
                    Append(text, item, depth + 1, isInline: true);
                }
                break;
            default:
                text.Append(Leaf(node)).Append('\n');
                break;
        }
    }

    private static void AppendValue(StringBuilder text, JsonNode? value, int depth)
    {
        if (value is JsonObject { Count: > 0 } or JsonArray { Count: > 0 })
        {
            text.Append('\n');
            Append(text, value, value is JsonArray ? depth - 1 : depth, isInline: false);
        }
        else
        {
            text.Append(' ').Append(Leaf(value)).Append('\n');
        }
    }

    private static string Leaf(JsonNode? node) => node switch
    {
        null => "null",
        JsonObject => "{}",
        JsonArray => "[]",
        _ when node.GetValueKind() == JsonValueKind.String => Scalar(node.GetValue<string>()),
        _ => Json(node),
    };

    private static string Scalar(string value) => IsPlain(value) ? value : Json(JsonValue.Create(value));

    private static bool IsPlain(string value) =>
        value.Length > 0 && char.IsAsciiLetter(value[0]) && value.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.' or '/') &&
        value.ToLowerInvariant() is not ("true" or "false" or "null" or "yes" or "no" or "on" or "off" or "y" or "n");
}
