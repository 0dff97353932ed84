using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.Kubernetes;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace AmbientMesh.ControlPlane.Tests.Translation;

/// <summary>Typed objects from YAML, as a user would apply them, and from recorded answers of an API server.</summary>
internal static class KubernetesObjects
{
    /// <summary>The objects of a file of YAML documents.</summary>
    public static IReadOnlyList<KubernetesObject> OfYaml(string text) => [.. JsonOfYaml(text).Select(json => Typed(json))];

    /// <summary>The documents of a YAML file as JSON.</summary>
    public static IReadOnlyList<JsonObject> JsonOfYaml(string text)
    {
        var yaml = new YamlStream();
        yaml.Load(new StringReader(text));
        return [.. yaml.Documents.Select(d => (JsonObject)Convert(d.RootNode)!)];
    }

    /// <summary>The objects in every successful JSON answer of a recording; those of lists one by one, other kinds left out.</summary>
    public static IReadOnlyList<KubernetesObject> OfRecording(string relative)
    {
        var found = new List<KubernetesObject>();
        foreach (var exchange in Samples.Text(relative).Split("\n--> HTTP/1.1 2").Skip(1))
        {
            var start = exchange.IndexOf("\n\n{", StringComparison.Ordinal);
            if (start < 0) continue;
            var body = exchange[start..].Split("\n\n\n=====", 2)[0];
            found.AddRange(Objects(JsonNode.Parse(body)!.AsObject()));
        }
        return found;
    }

    private static IEnumerable<KubernetesObject> Objects(JsonObject answer)
    {
        var kind = (string?)answer["kind"] ?? "";
        if (answer["items"] is not JsonArray items) return IsKnown(kind) ? [Typed(answer)] : [];
        var itemKind = kind[..^"List".Length];
        return IsKnown(itemKind) ? items.Select(item => Typed(item!.AsObject(), itemKind)) : [];
    }

    private static bool IsKnown(string kind) => kind is "Namespace" or "Node" or "Pod" or "Service" or "EndpointSlice";

    public static KubernetesObject Typed(JsonObject json, string? kind = null) => (kind ?? (string?)json["kind"]) switch
    {
        "Namespace" => json.Deserialize(KubernetesJson.Of<Namespace>())!,
        "Node" => json.Deserialize(KubernetesJson.Of<Node>())!,
        "Pod" => json.Deserialize(KubernetesJson.Of<Pod>())!,
        "Service" => json.Deserialize(KubernetesJson.Of<Service>())!,
        "EndpointSlice" => json.Deserialize(KubernetesJson.Of<EndpointSlice>())!,
        "ConfigMap" => json.Deserialize(KubernetesJson.Of<ConfigMap>())!,
        "ServiceEntry" => json.Deserialize(KubernetesJson.Of<ServiceEntry>())!,
        "WorkloadEntry" => json.Deserialize(KubernetesJson.Of<WorkloadEntry>())!,
        "Gateway" => json.Deserialize(KubernetesJson.Of<Gateway>())!,
        "GatewayClass" => json.Deserialize(KubernetesJson.Of<GatewayClass>())!,
        var other => throw new NotSupportedException($"kind {other}"),
    };

    private static JsonNode? Convert(YamlNode node) => node switch
    {
        YamlMappingNode map => new JsonObject(map.Children.Select(c => KeyValuePair.Create(((YamlScalarNode)c.Key).Value!, Convert(c.Value)))),
        YamlSequenceNode list => new JsonArray([.. list.Children.Select(Convert)]),
        YamlScalarNode { Style: not ScalarStyle.Plain } quoted => quoted.Value,
        YamlScalarNode { Value: "" or "null" } => null,
        YamlScalarNode { Value: "true" or "false" } flag => flag.Value == "true",
        YamlScalarNode number when int.TryParse(number.Value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value) => value,
        YamlScalarNode text => text.Value,
        _ => throw new NotSupportedException(node.NodeType.ToString()),
    };
}
