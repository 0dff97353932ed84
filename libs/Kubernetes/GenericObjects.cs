using System.Text.Json.Nodes;

namespace AmbientMesh.Kubernetes;

/// <summary>Reads what every object has from objects held as JSON.</summary>
public static class GenericObjects
{
    public static ObjectKey KeyOf(JsonObject o) => new(Text(o, "namespace"), Text(o, "name"));

    /// <summary>Empty when absent.</summary>
    public static string VersionOf(JsonObject o) => Text(o, "resourceVersion");

    internal static ObjectKind<JsonObject> KindOf(ResourceType type) => new(type, KubernetesJson.Of<JsonObject>(), KeyOf, VersionOf, o => Named(o, type));

    private static string Text(JsonObject o, string field) =>
        (o["metadata"] as JsonObject)?[field] is JsonValue value && value.TryGetValue<string>(out var text) ? text : "";

    private static JsonObject Named(JsonObject o, ResourceType type)
    {
        if (o.ContainsKey("apiVersion") && o.ContainsKey("kind")) return o;
        var named = (JsonObject)o.DeepClone();
        named["apiVersion"] = type.ApiVersion;
        named["kind"] = type.Kind;
        return named;
    }
}

/// <summary>Reads APIResourceList, the legacy discovery document of one group and version.</summary>
internal static class ApiResources
{
    public static IReadOnlyList<ResourceType> Read(JsonObject list, string group, string version)
    {
        var types = new List<ResourceType>();
        foreach (var resource in (list["resources"] as JsonArray)?.OfType<JsonObject>() ?? [])
        {
            var name = (string?)resource["name"] ?? "";
            if (name.Length == 0 || name.Contains('/')) continue;
            types.Add(new ResourceType(group, version, name, (string?)resource["kind"] ?? "", (bool?)resource["namespaced"] ?? false));
        }
        return types;
    }
}
