using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>YAML to JSON objects and back, with the scalar rules Kubernetes' YAML uses.</summary>
public static class YamlText
{
    /// <summary>The first document; null when it is empty. Malformed text is 400.</summary>
    public static JsonNode? Parse(string text)
    {
        try
        {
            var stream = new YamlStream();
            using var reader = new StringReader(text);
            stream.Load(reader);
            return stream.Documents.Count == 0 ? null : Convert(stream.Documents[0].RootNode);
        }
        catch (YamlException e)
        {
            throw ApiErrors.BadRequest($"error converting YAML to JSON: yaml: line {e.Start.Line}: {e.Message}");
        }
    }

    /// <summary>Every document of a file that is not empty.</summary>
    public static IEnumerable<JsonObject> ParseAll(string text)
    {
        var stream = new YamlStream();
        using var reader = new StringReader(text);
        stream.Load(reader);
        return [.. stream.Documents.Select(d => Convert(d.RootNode)).OfType<JsonObject>()];
    }

    private static JsonNode? Convert(YamlNode node) => node switch
    {
        YamlMappingNode map => Mapping(map),
        YamlSequenceNode list => new JsonArray([.. list.Children.Select(Convert)]),
        YamlScalarNode scalar => Scalar(scalar),
        _ => null,
    };

    private static JsonObject Mapping(YamlMappingNode map)
    {
        var result = new JsonObject();
        foreach (var (key, value) in map.Children) result[Key((YamlScalarNode)key)] = Convert(value);
        return result;
    }

    /// <summary>YAML 1.1: an unquoted <c>y</c> or <c>yes</c> is the boolean, whose JSON key is <c>true</c>.</summary>
    private static string Key(YamlScalarNode key) => Scalar(key) is JsonValue v && v.GetValueKind() is JsonValueKind.True or JsonValueKind.False ? v.ToJsonString() : key.Value ?? "";

    private static JsonNode? Scalar(YamlScalarNode scalar)
    {
        var text = scalar.Value ?? "";
        if (scalar.Style is not (ScalarStyle.Plain or ScalarStyle.Any) || scalar.Tag == "tag:yaml.org,2002:str") return JsonValue.Create(text);
        switch (text)
        {
            case "" or "~" or "null" or "Null" or "NULL":
                return null;
            case "true" or "True" or "TRUE" or "y" or "Y" or "yes" or "Yes" or "on" or "On":
                return JsonValue.Create(true);
            case "false" or "False" or "FALSE" or "n" or "N" or "no" or "No" or "off" or "Off":
                return JsonValue.Create(false);
        }
        if (long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var integer) && (text.TrimStart('-') is "0" || text.TrimStart('-')[0] != '0'))
            return JsonTree.Number(integer);
        if (text.Length > 1 && text[0] == '0' && text.All(char.IsAsciiDigit) && text.All(c => c < '8')) return JsonTree.Number(System.Convert.ToInt64(text, 8));
        if (text.StartsWith("0x", StringComparison.Ordinal) && long.TryParse(text.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var hex)) return JsonTree.Number(hex);
        if (char.IsAsciiDigit(text[^1]) && (char.IsAsciiDigit(text[0]) || text[0] is '-' or '+' or '.')
            && double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var real))
            return JsonNode.Parse(real.ToString("R", CultureInfo.InvariantCulture));
        return JsonValue.Create(text);
    }

    /// <summary>Block-style YAML, keys in alphabetical order as <c>sigs.k8s.io/yaml</c> writes them.</summary>
    public static string Write(JsonNode? node)
    {
        var text = new StringBuilder();
        Write(text, node, 0, inList: false);
        return text.ToString();
    }

    private static void Write(StringBuilder text, JsonNode? node, int indent, bool inList)
    {
        switch (node)
        {
            case JsonObject { Count: > 0 } o:
                var first = inList;
                foreach (var (key, value) in o.OrderBy(p => p.Key, StringComparer.Ordinal))
                {
                    if (!first) text.Append(' ', indent);
                    first = false;
                    text.Append(Quoted(key)).Append(':');
                    Value(text, value, indent, value is JsonArray ? indent : indent + 2);
                }
                break;
            case JsonArray { Count: > 0 } list:
                foreach (var item in list)
                {
                    text.Append(' ', indent).Append('-');
                    if (item is JsonObject { Count: > 0 })
                    {
                        text.Append(' ');
                        Write(text, item, indent + 2, inList: true);
                    }
                    else
                    {
                        Value(text, item, indent, indent + 2);
                    }
                }
                break;
            default:
                text.Append(Leaf(node)).Append('\n');
                break;
        }
    }

    private static void Value(StringBuilder text, JsonNode? value, int indent, int child)
    {
        if (value is JsonObject { Count: > 0 } or JsonArray { Count: > 0 })
        {
            text.Append('\n');
            Write(text, value, child, inList: false);
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
        JsonValue v when v.GetValueKind() == JsonValueKind.String => Quoted(v.ToString()),
        _ => node.ToJsonString(),
    };

    private static string Quoted(string text)
    {
        var plain = text.Length > 0 && text.All(c => c is >= ' ' and < (char)127) && !char.IsWhiteSpace(text[0]) && !char.IsWhiteSpace(text[^1])
            && !"-?:,[]{}#&*!|>'\"%@`".Contains(text[0], StringComparison.Ordinal) && !text.Contains(": ", StringComparison.Ordinal)
            && !text.Contains(" #", StringComparison.Ordinal) && text[^1] != ':' && Scalar(new YamlScalarNode(text)) is JsonValue v && v.GetValueKind() == JsonValueKind.String;
        return plain ? text : JsonSerializer.Serialize(text);
    }
}
