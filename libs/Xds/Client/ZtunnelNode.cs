using System.Text.Json;
using AmbientMesh.Protocol.Core;
using Google.Protobuf.WellKnownTypes;

namespace AmbientMesh.Xds;

/// <summary>Who a ztunnel says it is to the control plane (reference 4.3).</summary>
public static class ZtunnelNode
{
    private const string TextPrefix = "ISTIO_META_", JsonPrefix = "ISTIO_METAJSON_", UnknownIp = "1.1.1.1";

    /// <param name="ip">INSTANCE_IP; null or empty stands as <c>1.1.1.1</c>, as in ztunnel.</param>
    /// <param name="environment">Its <c>ISTIO_META_*</c> and <c>ISTIO_METAJSON_*</c> entries become metadata; others are ignored.</param>
    /// <exception cref="FormatException">An <c>ISTIO_METAJSON_*</c> entry is not JSON; the message names it.</exception>
    public static Node Build(string? ip, string podName, string podNamespace, string nodeName, IEnumerable<KeyValuePair<string, string>> environment)
    {
        var address = string.IsNullOrEmpty(ip) ? UnknownIp : ip;
        var metadata = new Struct
        {
            Fields =
            {
                ["NAME"] = Value.ForString(podName),
                ["NAMESPACE"] = Value.ForString(podNamespace),
                ["INSTANCE_IPS"] = Value.ForString(address),
                ["NODE_NAME"] = Value.ForString(nodeName),
            },
        };
        foreach (var (key, value) in environment)
        {
            if (key.StartsWith(TextPrefix, StringComparison.Ordinal)) metadata.Fields[key[TextPrefix.Length..]] = Value.ForString(value);
            else if (key.StartsWith(JsonPrefix, StringComparison.Ordinal)) metadata.Fields[key[JsonPrefix.Length..]] = ParseJson(key, value);
        }
        return new Node { Id = $"ztunnel~{address}~{podName}.{podNamespace}~{podNamespace}.svc.cluster.local", Metadata = metadata };
    }

    private static Value ParseJson(string key, string text)
    {
        try
        {
            using var document = JsonDocument.Parse(text, new JsonDocumentOptions { MaxDepth = 32 });
            return ToValue(document.RootElement);
        }
        catch (JsonException problem)
        {
            throw new FormatException($"environment variable {key} is not JSON: {problem.Message}", problem);
        }
    }

    private static Value ToValue(JsonElement element)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                var fields = new Struct();
                foreach (var property in element.EnumerateObject()) fields.Fields[property.Name] = ToValue(property.Value);
                return Value.ForStruct(fields);
            case JsonValueKind.Array: return Value.ForList([.. element.EnumerateArray().Select(ToValue)]);
            case JsonValueKind.String: return Value.ForString(element.GetString()!);
            case JsonValueKind.Number: return Value.ForNumber(element.GetDouble());
            case JsonValueKind.True or JsonValueKind.False: return Value.ForBool(element.GetBoolean());
            default: return Value.ForNull();
        }
    }
}
