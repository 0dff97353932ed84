using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Translation;
using AmbientMesh.ControlPlane.Translation.Policy;
using AmbientMesh.Kubernetes;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Kubernetes;

/// <summary>Takes the taint <see cref="NodeUntaint.Taint"/> off nodes whose CNI agent is ready. For one replica at a time.</summary>
public sealed class NodeUntainting
{
    private static readonly TimeSpan Retry = TimeSpan.FromSeconds(2);

    private readonly KubernetesClient _client;
    private readonly Informer<Node> _nodes;
    private readonly Informer<Pod> _pods;
    private readonly InformerIndex<string, Pod> _agentsByNode;
    private readonly ILogger _log;

    /// <param name="client">Writes.</param>
    /// <param name="nodes">All nodes.</param>
    /// <param name="pods">All pods; not yet running.</param>
    /// <param name="systemNamespace">Where the agents are.</param>
    /// <param name="log">Told of each node.</param>
    public NodeUntainting(KubernetesClient client, Informer<Node> nodes, Informer<Pod> pods, string systemNamespace, ILogger log)
    {
        (_client, _nodes, _pods, _log) = (client, nodes, pods, log);
        _agentsByNode = pods.AddIndex(pod => NodeUntaint.ReadyNodeOf(pod, systemNamespace) is { } node ? new[] { node } : []);
    }

    /// <summary>Runs until cancelled; ends with the cancellation.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        await Task.WhenAll(_nodes.WaitForSyncAsync(cancellationToken), _pods.WaitForSyncAsync(cancellationToken));
        var (nodes, pods) = (_nodes.SubscribeUntil(cancellationToken), _pods.SubscribeUntil(cancellationToken));
        var (ofNodes, ofPods) = (Task.CompletedTask, Task.CompletedTask);
        while (true)
        {
            while (nodes.TryRead(out _) || pods.TryRead(out _))
            {
                // What counts is how things are now.
            }
            var isComplete = true;
            foreach (var node in _nodes.Items.Where(n => NodeUntaint.IsTainted(n) && _agentsByNode[n.Name].Count > 0)) isComplete &= await TryUntaintAsync(node, cancellationToken);
            if (ofNodes.IsCompleted) ofNodes = nodes.WaitToReadAsync(cancellationToken).AsTask();
            if (ofPods.IsCompleted) ofPods = pods.WaitToReadAsync(cancellationToken).AsTask();
            if (isComplete) await Task.WhenAny(ofNodes, ofPods);
            else await Task.Delay(Retry, _client.Clock, cancellationToken);
            cancellationToken.ThrowIfCancellationRequested();
        }
    }

    /// <returns>False when it is to be tried again.</returns>
    private async Task<bool> TryUntaintAsync(Node node, CancellationToken cancellationToken)
    {
        try
        {
            if (await _client.Of(Node.Type).GetAsync("", node.Name, cancellationToken) is not { } present || (present["spec"] as JsonObject)?["taints"] is not JsonArray taints) return true;
            var left = taints.OfType<JsonObject>().Where(t => PolicyObject.TextOf(t["key"]) != NodeUntaint.Taint).Select(t => t.DeepClone()).ToArray();
            if (left.Length == taints.Count) return true;
            var unchanged = new JsonObject { ["op"] = "test", ["path"] = "/spec/taints", ["value"] = taints.DeepClone() };
            JsonObject change = left.Length == 0
                ? new JsonObject { ["op"] = "remove", ["path"] = "/spec/taints" }
                : new JsonObject { ["op"] = "replace", ["path"] = "/spec/taints", ["value"] = new JsonArray(left) };
            await _client.Of(Node.Type).PatchAsync("", node.Name, Patch.Json([unchanged, change]), null, cancellationToken);
            _log.LogInformation("node {Node}: its CNI agent is ready, taint {Taint} removed", node.Name, NodeUntaint.Taint);
            return true;
        }
        catch (KubernetesException e)
        {
            _log.LogWarning("the taint {Taint} of node {Node} could not be removed, trying again: {Problem}", NodeUntaint.Taint, node.Name, e.Message);
            return false;
        }
    }
}
