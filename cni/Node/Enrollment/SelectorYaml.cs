using System.Text.Json;
using System.Text.Json.Nodes;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace AmbientMesh.Cni.Node.Enrollment;

/// <summary>Reads AMBIENT_ENABLEMENT_SELECTOR: a YAML list of { podSelector, namespaceSelector }.</summary>
internal static class SelectorYaml
{
    /// <summary>The entries; the defaults when <paramref name="yaml"/> is empty.</summary>
    /// <exception cref="FormatException">Not such a list; the message says where.</exception>
    public static IReadOnlyList<EnrollmentSelector> Read(string? yaml)
    {
        if (string.IsNullOrWhiteSpace(yaml)) return EnrollmentSelector.Defaults;
        try
        {
            var stream = new YamlStream();
            stream.Load(new StringReader(yaml));
            var selectors = stream.Documents.Count == 0 ? null : Json(stream.Documents[0].RootNode).Deserialize(EnrollmentSelectorJson.Default.ListEnrollmentSelector);
            if (selectors is null) throw new FormatException("it is no list");
            return selectors.Select(s => s.Problem()).FirstOrDefault(p => p is not null) is { } problem ? throw new FormatException(problem) : selectors;
        }
        catch (Exception e) when (e is YamlException or JsonException or FormatException)
        {
            throw new FormatException($"AMBIENT_ENABLEMENT_SELECTOR cannot be read: {e.Message}", e);
        }
    }

    private static JsonNode Json(YamlNode node) => node switch
    {
        YamlMappingNode map => new JsonObject(map.Children.Select(pair => KeyValuePair.Create(((YamlScalarNode)pair.Key).Value ?? "", (JsonNode?)Json(pair.Value)))),
        YamlSequenceNode list => new JsonArray([.. list.Children.Select(Json)]),
        YamlScalarNode scalar => JsonValue.Create(scalar.Value ?? ""),
        _ => throw new FormatException($"an alias at {node.Start} is not supported"),
    };
}
