using System.Text.Json.Nodes;
using AmbientMesh.Cli.Reaching;

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
            if (filter.Namespace is not null && pod.Member("info").Text("namespace") != filter.Namespace) pods.Remove(uid);
            else if (filter.Direction is { } direction && pod.Member("connections") is JsonObject connections) connections.Remove(direction == "inbound" ? "outbound" : "inbound");
        }
        return pods;
    }

    private static bool Matches(JsonNode? item, DumpFilter filter) =>
        (filter.Namespace is null || item.Text("namespace") == filter.Namespace) &&
        (filter.WorkloadNode is null || item.Text("node") == filter.WorkloadNode) &&
        (filter.Address is null || item.Items("workloadIps").Any(ip => AnswerJson.Text(ip) == filter.Address));
}
