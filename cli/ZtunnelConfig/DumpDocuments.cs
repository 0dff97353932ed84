using System.Text.Json.Nodes;

namespace AmbientMesh.Cli.ZtunnelConfig;

/// <summary>What <c>-o json</c> and <c>-o yaml</c> show of a dump: the part that was asked for as the ztunnel wrote it, less what the filter leaves out. Pure.</summary>
internal static class DumpDocuments
{
    /// <param name="part">The dump's key: <c>workloads</c>, <c>services</c>, <c>policies</c>, <c>certificates</c> or <c>workloadState</c>.</param>
    public static JsonNode Part(JsonNode document, string part, DumpFilter filter) => document[part]?.DeepClone() switch
    {
        JsonObject pods when part == "workloadState" => Pods(pods, filter),
        JsonArray items when part != "certificates" => new JsonArray([.. items.Where(item => Matches(item, filter)).Select(item => item?.DeepClone())]),
        { } whole => whole,
        null => new JsonArray(),
    };

    private static JsonObject Pods(JsonObject pods, DumpFilter filter)
    {
        foreach (var (uid, pod) in pods.ToList())
        {
            if (filter.Namespace is not null && Text(pod, "info", "namespace") != filter.Namespace) pods.Remove(uid);
            else if (filter.Direction is { } direction && (pod as JsonObject)?["connections"] is JsonObject connections) connections.Remove(direction == "inbound" ? "outbound" : "inbound");
        }
        return pods;
    }

    private static bool Matches(JsonNode? item, DumpFilter filter) =>
        (filter.Namespace is null || Text(item, "namespace") == filter.Namespace) &&
        (filter.WorkloadNode is null || Text(item, "node") == filter.WorkloadNode) &&
        (filter.Address is null || ((item as JsonObject)?["workloadIps"] as JsonArray)?.Any(ip => Text(ip) == filter.Address) == true);

    private static string? Text(JsonNode? node, params ReadOnlySpan<string> path)
    {
        foreach (var key in path) node = (node as JsonObject)?[key];
        return node is JsonValue value && value.TryGetValue(out string? text) ? text : null;
    }
}
