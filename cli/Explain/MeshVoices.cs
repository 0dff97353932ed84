using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;
using AmbientMesh.Cli.CommandLine;
using AmbientMesh.Cli.Reaching;
using AmbientMesh.Kubernetes;
using AmbientMesh.Model.Explanation;

namespace AmbientMesh.Cli.Explain;

/// <summary>Asks the live parts for their halves of an explanation.</summary>
internal sealed class MeshVoices(MeshCluster cluster, MeshPods pods)
{
    /// <summary>The ztunnel of a node; of two, as during an update, the one that is ready and newest.</summary>
    public Pod? ZtunnelOf(string? node) => pods.Ztunnels.Where(z => z.Spec.NodeName == node && z.Status.Phase == "Running").OrderByDescending(z => z.Is("Ready")).ThenByDescending(z => z.Metadata.CreationTimestamp).FirstOrDefault();

    /// <summary>Any ztunnel that is ready, preferably of <paramref name="node"/>.</summary>
    /// <exception cref="MeshctlException">None is.</exception>
    public Pod AnyZtunnel(string? node) => ZtunnelOf(node) ?? pods.Ztunnels.FirstOrDefault(z => z.Is("Ready")) ?? throw new MeshctlException("No ztunnel is ready, so that nobody can explain; see meshctl status.");

    /// <exception cref="MeshctlException">It cannot answer.</exception>
    public async Task<OutboundExplanation> OutboundAsync(Pod ztunnel, string from, string to, bool isCaptured, CancellationToken cancellationToken) =>
        await AskAsync(ztunnel, $"/debug/explain?from={Uri.EscapeDataString(from)}&to={Uri.EscapeDataString(to)}{(isCaptured ? "" : "&captured=false")}", ExplanationJson.Default.OutboundExplanation, cancellationToken);

    /// <param name="identity">Null: a plain connection.</param>
    /// <exception cref="MeshctlException">It cannot answer.</exception>
    public async Task<InboundExplanation> InboundAsync(Pod ztunnel, string pod, string to, string source, string? identity, CancellationToken cancellationToken) =>
        await AskAsync(ztunnel, $"/debug/explain?side=inbound&pod={Uri.EscapeDataString(pod)}&to={Uri.EscapeDataString(to)}&source={Uri.EscapeDataString(source)}{(identity is null ? "" : $"&identity={Uri.EscapeDataString(identity)}")}", ExplanationJson.Default.InboundExplanation, cancellationToken);

    /// <summary>The node agent's status; null when there is none or it does not answer.</summary>
    public async Task<JsonNode?> AgentAsync(string? node, CancellationToken cancellationToken)
    {
        if (pods.Agents.FirstOrDefault(a => a.Spec.NodeName == node && a.Status.Phase == "Running") is not { } agent) return null;
        return (await PartClient.TryAsync(() => cluster.Parts.JsonAsync(agent, PartClient.AgentStatus, "/status", cancellationToken))).Answer;
    }

    /// <summary>The Kubernetes objects behind resources; empty where the control plane does not tell.</summary>
    public async Task<(IReadOnlyList<Origin> Origins, string? Problem)> OriginsAsync(IEnumerable<string> resources, CancellationToken cancellationToken)
    {
        if (pods.ControlPlanes.FirstOrDefault(p => p.Is("Ready")) is not { } controlPlane) return ([], "no control plane is ready: the Kubernetes objects behind the resources are not known");
        var query = string.Join('&', resources.Where(r => r.Length > 0).Distinct(StringComparer.Ordinal).Select(r => $"name={Uri.EscapeDataString(r)}"));
        if (query.Length == 0) return ([], null);
        var asked = await PartClient.TryAsync(() => cluster.Parts.JsonAsync(controlPlane, PartClient.ControlPlaneDebug, $"/debug/origins?{query}", cancellationToken));
        if (asked.Answer is not JsonArray list) return ([], asked.Problem is { } problem ? $"the Kubernetes objects behind the resources are not known: {problem}" : null);
        return (Origins(list), null);
    }

    /// <summary>The objects of an answer to <c>/debug/origins</c>.</summary>
    internal static IReadOnlyList<Origin> Origins(JsonArray answer) =>
    [
        .. answer.OfType<JsonObject>().Select(o => new Origin(
            Text(o, "resource"), Text(o, "kind"), Text(o, "apiVersion"), Text(o, "namespace"), Text(o, "name"), o.Number("generation") ?? 0, Text(o, "resourceVersion"))),
    ];

    private static string Text(JsonObject o, string key) => o.Text(key) ?? "";

    private async Task<T> AskAsync<T>(Pod ztunnel, string path, JsonTypeInfo<T> type, CancellationToken cancellationToken) where T : class
    {
        var answer = await cluster.Parts.AskAsync(ztunnel, PartClient.ZtunnelAdmin, path, cancellationToken);
        var said = answer.Text.Trim();
        if (answer.Status == HttpStatusCode.NotFound && said.Length == 0)
            throw new MeshctlException($"{ztunnel.Key.Name} on node {ztunnel.Spec.NodeName} does not explain: it is another ztunnel than AmbientMesh's, or an older one. 'meshctl ztunnel-config all {ztunnel.Key.Name}' shows what it holds.");
        if (answer.Status != HttpStatusCode.OK) throw new MeshctlException($"{ztunnel.Key.Name} on node {ztunnel.Spec.NodeName} cannot explain: {said}");
        try
        {
            return AnswerJson.As(AnswerJson.Read(answer.Body), type);
        }
        catch (JsonException e)
        {
            throw new MeshctlException($"{ztunnel.Key.Name} explained in a form this meshctl cannot read ({e.Message}); use the meshctl of its version.", e);
        }
    }
}
