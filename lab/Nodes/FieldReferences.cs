using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Nodes;

/// <summary>What fieldRef and resourceFieldRef stand for, in env and in downward API files. Pure.</summary>
internal static class FieldReferences
{
    private static readonly JsonSerializerOptions s_goQuoting = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The value of a field path; null for a path that is not supported.</summary>
    public static string? Field(JsonObject pod, string path)
    {
        if (Subscript(path, "metadata.labels") is { } label) return pod.Labels().GetValueOrDefault(label, "");
        if (Subscript(path, "metadata.annotations") is { } annotation) return pod.Annotations().GetValueOrDefault(annotation, "");
        return path switch
        {
            "metadata.name" => pod.Name(),
            "metadata.namespace" => pod.Namespace(),
            "metadata.uid" => pod.Uid(),
            "metadata.labels" => Lines(pod.Labels()),
            "metadata.annotations" => Lines(pod.Annotations()),
            "spec.nodeName" => pod.NodeName(),
            "spec.serviceAccountName" => pod.Text("spec", "serviceAccountName") ?? "default",
            "status.hostIP" => pod.Text("status", "hostIP") ?? "",
            "status.hostIPs" => string.Join(',', pod.Objects("status", "hostIPs").Select(i => i.Text("ip"))),
            "status.podIP" => pod.Text("status", "podIP") ?? "",
            "status.podIPs" => string.Join(',', pod.Objects("status", "podIPs").Select(i => i.Text("ip"))),
            _ => null,
        };
    }

    /// <summary>A container's request or limit; an absent limit is all the node has.</summary>
    public static string? Resource(JsonObject pod, JsonObject? container, JsonObject reference, JsonObject? node)
    {
        var named = reference.Text("containerName") is { } name ? pod.Containers().Concat(pod.InitContainers()).FirstOrDefault(c => c.Text("name") == name) : container;
        if (named is null || reference.Text("resource")?.Split('.', 2) is not [var kind and ("limits" or "requests"), var resource]) return null;
        var text = named.At("resources", kind, resource)?.ToString();
        if (text is null && kind == "limits") text = node.At("status", "allocatable", resource)?.ToString();
        return Quantity.Divide(Quantity.Parse(text) ?? 0, reference.At("divisor")?.ToString() is { } d and not "0" ? d : null);
    }

    private static string Lines(Dictionary<string, string> map)
    {
        var text = new StringBuilder();
        foreach (var (key, value) in map.OrderBy(p => p.Key, StringComparer.Ordinal)) text.Append(key).Append('=').Append(JsonSerializer.Serialize(value, s_goQuoting)).Append('\n');
        return text.ToString().TrimEnd('\n');
    }

    private static string? Subscript(string path, string map) =>
        path.StartsWith(map + "['", StringComparison.Ordinal) && path.EndsWith("']", StringComparison.Ordinal) ? path[(map.Length + 2)..^2] : null;
}
