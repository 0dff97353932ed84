using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.Model.Explanation;

namespace AmbientMesh.Cli.Explain;

/// <summary>Writes a path for scripts: both halves as the ztunnels gave them, and what they come to.</summary>
internal static class PathJson
{
    public static JsonObject Of(PathExplanation path) => new()
    {
        ["from"] = path.From,
        ["to"] = path.To,
        ["verdict"] = path.Outcome switch { { IsAllowed: true } => "allowed", { IsAllowed: false } => "refused", { Reason.Length: > 0 } => "depends", _ => "unknown" },
        ["reason"] = path.Outcome.Reason.Length > 0 ? path.Outcome.Reason : null,
        ["text"] = path.Outcome.Text,
        ["allowedShare"] = path.AllowedShare,
        ["decidedBy"] = path.Outcome.DecidedBy?.ToString(),
        ["decidedAt"] = path.Outcome.Where,
        ["decidedByObjects"] = new JsonArray([.. path.OriginsOf(path.Outcome.Resources).Select(Of)]),
        ["advice"] = Advice.For(path),
        ["source"] = Of(path.Source),
        ["outbound"] = JsonSerializer.SerializeToNode(path.Outbound, ExplanationJson.Default.OutboundExplanation),
        ["branches"] = new JsonArray([.. path.Branches.Select(b => (JsonNode)new JsonObject
        {
            ["share"] = b.Route.Share,
            ["nextHop"] = b.Route.NextHop,
            ["peer"] = b.Route.Peer is { } peer ? $"{peer.Namespace}/{peer.Name}" : null,
            ["verdict"] = b.Outcome.IsAllowed switch { true => "allowed", false => "refused", null => "unknown" },
            ["reason"] = b.Outcome.Reason.Length > 0 ? b.Outcome.Reason : null,
            ["text"] = b.Outcome.Text,
            ["decidedBy"] = b.Outcome.DecidedBy?.ToString(),
            ["destination"] = b.Destination is { } capture ? Of(capture) : null,
            ["inbound"] = b.Inbound is { } inbound ? JsonSerializer.SerializeToNode(inbound, ExplanationJson.Default.InboundExplanation) : null,
        })]),
        ["origins"] = new JsonArray([.. path.Origins.Select(Of)]),
        ["disagreements"] = new JsonArray([.. path.Disagreements.Select(d => (JsonNode)new JsonObject { ["kind"] = d.Kind, ["name"] = d.Name, ["nodes"] = new JsonArray(d.OneNode, d.OtherNode) })]),
        ["notes"] = new JsonArray([.. path.SyncProblems.Concat(path.Notes).Select(n => (JsonNode?)n)]),
    };

    public static JsonNode Of(Origin origin) => new JsonObject
    {
        ["resource"] = origin.Resource,
        ["kind"] = origin.Kind,
        ["apiVersion"] = origin.ApiVersion,
        ["namespace"] = origin.Namespace,
        ["name"] = origin.Name,
        ["generation"] = origin.Generation,
        ["resourceVersion"] = origin.ResourceVersion,
    };

    private static JsonObject Of(PodCapture capture) => new() { ["captured"] = capture.IsCaptured, ["facts"] = new JsonArray([.. capture.Facts.Select(f => (JsonNode?)f)]), ["problem"] = capture.Problem };
}
