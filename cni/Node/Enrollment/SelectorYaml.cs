using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.Kubernetes;
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
            var selectors = BoundedYaml.Load(yaml) is { } root ? Json(root).Deserialize(EnrollmentSelectorJson.Default.ListEnrollmentSelector) : null;
            if (selectors is null) throw new FormatException("it is no list");
            return EnrollmentSelector.ProblemOf(selectors) is { } problem ? throw new FormatException(problem) : selectors;
        }
        catch (Exception e) when (e is JsonException or FormatException)
        {
            throw new FormatException($"AMBIENT_ENABLEMENT_SELECTOR cannot be read: {e.Message}", e);
        }
    }

    private static JsonNode Json(YamlNode node) => node switch
    {
        YamlMappingNode map => new JsonObject(map.Children.Select(pair => KeyValuePair.Create(Name(pair.Key), (JsonNode?)Json(pair.Value)))),
        YamlSequenceNode list => new JsonArray([.. list.Children.Select(Json)]),
        YamlScalarNode scalar => JsonValue.Create(scalar.Value ?? ""),
        _ => throw new FormatException($"{node.NodeType} at {node.Start} is not supported"),
    };

    private static string Name(YamlNode key) => key is YamlScalarNode { Value: { Length: > 0 } name } ? name : throw new FormatException($"the key at {key.Start} is no name");
}
