using System.Net;
using System.Text.Json.Nodes;
using AmbientMesh.Cli.CommandLine;
using AmbientMesh.Cli.Reaching;
using AmbientMesh.Cli.Status;
using AmbientMesh.Kubernetes;
using AmbientMesh.Model.Explanation;

namespace AmbientMesh.Cli.Explain;

/// <summary>Follows a path by asking the live parts: the source's node, then the node of each pod the connection may arrive at.</summary>
internal sealed class PathReading(MeshCluster cluster, MeshPods pods)
{
    private readonly MeshVoices _voices = new(cluster, pods);
    private readonly Dictionary<string, Task<JsonNode?>> _agents = [];
    private readonly List<string> _notes = [];

    /// <param name="to">Host or address, and port.</param>
    /// <exception cref="MeshctlException">The source does not exist, or nobody can answer for it.</exception>
    public async Task<PathExplanation> ReadAsync(string sourceNamespace, string sourceName, string to, CancellationToken cancellationToken)
    {
        var from = $"{sourceNamespace}/{sourceName}";
        var source = await cluster.Client.Of<Pod>().GetAsync(sourceNamespace, sourceName, cancellationToken)
            ?? throw new MeshctlException($"There is no pod {from}; name it as namespace/pod. Its namespace's pods: kubectl get pods -n {sourceNamespace}.");
        if (source.Status.Phase is "Succeeded" or "Failed") throw new MeshctlException($"Pod {from} has ended ({source.Status.Phase}).");
        var node = source.Spec.NodeName ?? throw new MeshctlException($"Pod {from} is on no node yet.");
        var capture = await CaptureAsync(source, cancellationToken);
        var ztunnel = capture.IsCaptured ? _voices.ZtunnelOf(node) ?? throw new MeshctlException($"Pod {from} is redirected to a ztunnel, and none runs on its node {node}: its connections are refused until one is back.") : _voices.AnyZtunnel(node);
        var outbound = await _voices.OutboundAsync(ztunnel, from, to, capture.IsCaptured, cancellationToken);
        var branches = await Task.WhenAll(outbound.Routes.Select(route => BranchAsync(source, capture.IsCaptured, outbound, route, cancellationToken)));
        var (origins, unknown) = await _voices.OriginsAsync(Resources(outbound, branches), cancellationToken);
        if (unknown is not null) Note(unknown);
        string[] asked = [outbound.By.Node, .. branches.Select(b => b.Inbound?.By.Node).OfType<string>()];
        return new PathExplanation(from, to, capture, outbound, branches, origins, Disagreements(outbound, branches), await SyncProblemsAsync(asked, cancellationToken), _notes);
    }

    private async Task<Branch> BranchAsync(Pod source, bool isCaptured, OutboundExplanation outbound, RouteReport route, CancellationToken cancellationToken)
    {
        PodCapture? destination = null;
        var isGone = false;
        InboundExplanation? inbound = null;
        // A waypoint decides by itself; outside the mesh nobody does.
        if (route is { Refusal: null, IsThroughWaypoint: false, Peer: { } peer, NextHop: { } hop } && PodOf(peer) is { } name)
        {
            destination = await DestinationAsync(name, peer, cancellationToken);
            isGone = destination is null;
            var arrives = route.Kind == RouteKind.Hbone || destination?.IsCaptured == true;
            if (arrives && await AskDestinationAsync(name, peer, cancellationToken) is { } ztunnel)
            {
                var client = ClientAddress(source, outbound, hop);
                var identity = route.Kind == RouteKind.Hbone ? outbound.Source?.Identity : null;
                var asked = await PartClient.TryAsync(() => _voices.InboundAsync(ztunnel, $"{name.Namespace}/{name.Name}", route.Authority ?? hop, client, identity, cancellationToken));
                inbound = asked.Answer;
                if (asked.Problem is { } problem) Note(problem);
            }
        }
        return new Branch(route, destination, inbound, BranchJudgement.Judge(outbound, route, isCaptured, destination?.IsCaptured, inbound, isGone));
    }

    private async Task<PodCapture?> DestinationAsync((string Namespace, string Name) name, WorkloadReport peer, CancellationToken cancellationToken)
    {
        if (await cluster.Client.Of<Pod>().GetAsync(name.Namespace, name.Name, cancellationToken) is { } pod) return await CaptureAsync(pod, cancellationToken);
        Note($"pod {name.Namespace}/{name.Name} ({peer.Uid}), which the source's ztunnel knows, does not exist in this cluster any more");
        return null;
    }

    private async Task<Pod?> AskDestinationAsync((string Namespace, string Name) name, WorkloadReport peer, CancellationToken cancellationToken)
    {
        var node = (await cluster.Client.Of<Pod>().GetAsync(name.Namespace, name.Name, cancellationToken))?.Spec.NodeName ?? peer.Node;
        if (_voices.ZtunnelOf(node) is { } ztunnel) return ztunnel;
        Note($"no ztunnel runs on node {node}, where {name.Namespace}/{name.Name} is");
        return null;
    }

    private async Task<PodCapture> CaptureAsync(Pod pod, CancellationToken cancellationToken)
    {
        Task<JsonNode?>? agent;
        lock (_agents)
        {
            var node = pod.Spec.NodeName ?? "";
            if (!_agents.TryGetValue(node, out agent)) _agents[node] = agent = _voices.AgentAsync(node, cancellationToken);
        }
        Namespace? ns = null;
        try
        {
            ns = await cluster.Client.Of<Namespace>().GetAsync(null, pod.Metadata.Namespace ?? "", cancellationToken);
        }
        catch (KubernetesException e) when (e.IsForbidden)
        {
            Note($"the labels of namespace {pod.Metadata.Namespace} may not be read: {e.Status.Message}");
        }
        return CaptureJudgement.Of(pod, ns, await agent, cluster.Clock.GetUtcNow());
    }

    /// <summary>What the control plane says of the ztunnels that answered, where they do not have what it sent.</summary>
    private async Task<IReadOnlyList<string>> SyncProblemsAsync(IReadOnlyList<string> nodes, CancellationToken cancellationToken)
    {
        var ztunnels = nodes.Distinct(StringComparer.Ordinal).Select(_voices.ZtunnelOf).OfType<Pod>().ToList();
        var problems = new List<string>();
        foreach (var z in await SyncReading.ReadAsync(cluster, pods, ztunnels, cancellationToken))
        {
            if (z.ControlPlane is null) problems.Add($"{z.Pod.Key.Name} on node {z.Pod.Spec.NodeName} is connected to no control plane: it decides by what it had");
            foreach (var type in z.Types.Where(t => !t.IsSynced)) problems.Add($"{z.Pod.Key.Name} on node {z.Pod.Spec.NodeName} has not acknowledged the last {type.ShortName} push");
            foreach (var type in z.Types)
                foreach (var (name, reason) in type.Rejected) problems.Add($"{z.Pod.Key.Name} on node {z.Pod.Spec.NodeName} refuses {type.ShortName} {name}: {reason}");
        }
        return problems;
    }

    internal static IReadOnlyList<Disagreement> Disagreements(OutboundExplanation outbound, IReadOnlyList<Branch> branches)
    {
        var found = new HashSet<Disagreement>();
        var here = outbound.Resources.DistinctBy(r => (r.Kind, r.Name)).ToDictionary(r => (r.Kind, r.Name));
        foreach (var inbound in branches.Select(b => b.Inbound).OfType<InboundExplanation>())
            foreach (var there in inbound.Resources)
                if (here.TryGetValue((there.Kind, there.Name), out var ours) && ours.Digest != there.Digest) found.Add(new Disagreement(there.Kind, there.Name, outbound.By.Node, inbound.By.Node));
        return [.. found];
    }

    private static IEnumerable<string> Resources(OutboundExplanation outbound, IReadOnlyList<Branch> branches) =>
    [
        outbound.Source?.Uid ?? "", outbound.Service?.Resource ?? "", outbound.Workload?.Uid ?? "",
        .. outbound.Searches.Select(s => s.Service.Resource),
        .. branches.Select(b => b.Route.Peer?.Uid ?? ""),
        .. branches.SelectMany(b => b.Inbound?.Policies ?? []).Select(p => p.Resource),
    ];

    /// <summary>The pod behind a workload of this cluster: its name on the wire is <c>cluster//Pod/namespace/name</c>.</summary>
    internal static (string Namespace, string Name)? PodOf(WorkloadReport workload) => workload.Uid.Split('/') is [_, "", "Pod", var ns, var name] ? (ns, name) : null;

    /// <summary>The address the destination sees: the source pod's, of the family that is dialled.</summary>
    private static string ClientAddress(Pod source, OutboundExplanation outbound, string hop)
    {
        var family = IPEndPoint.TryParse(hop, out var parsed) ? parsed.AddressFamily : System.Net.Sockets.AddressFamily.InterNetwork;
        var own = source.Status.PodIPs.Select(a => a.Ip).Concat(outbound.Source?.Addresses ?? []).Append(source.Status.PodIP ?? "");
        return own.FirstOrDefault(a => IPAddress.TryParse(a, out var ip) && ip.AddressFamily == family) ?? "0.0.0.0";
    }

    private void Note(string text)
    {
        lock (_notes)
            if (!_notes.Contains(text)) _notes.Add(text);
    }
}
