using System.Text.Json.Nodes;
using AmbientMesh.Cli.Reaching;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.Cli.Status;

/// <summary>Asks the API server, every control plane replica and every node's parts for their state, side by side.</summary>
internal static class StatusReading
{
    public static async Task<MeshStatus> ReadAsync(MeshCluster cluster, CancellationToken cancellationToken)
    {
        var pods = await cluster.PodsAsync(cancellationToken);
        var versions = PartVersions.ReadAsync(cluster, pods, cancellationToken);
        var syncs = SyncReading.ClientsAsync(cluster, pods, cancellationToken);
        var agents = Task.WhenAll(pods.Agents.Select(pod => AgentAsync(cluster, pod, cancellationToken)));
        var coverage = PageAsync(cluster, pods, "/debug/coverage", cancellationToken);
        var authority = PageAsync(cluster, pods, "/debug/certificates", cancellationToken);
        var workloads = await WorkloadsAsync(cluster, cancellationToken);
        var known = (await versions).ToDictionary(v => v.Pod.Key.Name);
        var answers = await syncs;
        var clients = answers.SelectMany(a => a.Answer ?? []).ToLookup(c => c.Proxy, StringComparer.Ordinal);
        string[] problems = [.. known.Values.Select(v => v.Problem).Concat(answers.Select(a => a.Problem)).Concat((await agents).Select(a => a.Problem)).OfType<string>().Distinct()];
        return new MeshStatus(
            [.. workloads.Select(w => w with { Versions = VersionsOf(w, pods, known) })],
            [.. pods.Ztunnels.Select(pod => SyncReading.Status(pod, known[pod.Key.Name].Version, clients))],
            [.. (await agents).Select(a => a.Answer).OfType<AgentStatus>().Select(a => a with { Version = known[a.Pod.Key.Name].Version })],
            await coverage, await authority, problems);
    }

    private static bool IsRunning(Pod pod) => pod.Status.Phase == "Running";

    private static IReadOnlyList<string> VersionsOf(PartStatus part, MeshPods pods, Dictionary<string, PartVersion> known)
    {
        var own = part.Name switch { "istiod" => pods.ControlPlanes, "ztunnel" => pods.Ztunnels, _ => pods.Agents };
        return [.. own.Select(pod => known[pod.Key.Name].Version).OfType<string>().Distinct().Order(StringComparer.Ordinal)];
    }

    /// <summary>Deployments and DaemonSets of the mesh; Istio's chart gives them the same names and labels.</summary>
    private static async Task<IReadOnlyList<PartStatus>> WorkloadsAsync(MeshCluster cluster, CancellationToken cancellationToken)
    {
        var here = new Selection { Namespace = cluster.MeshNamespace };
        var deployments = await cluster.Client.Of<Deployment>().ListAsync(here, cancellationToken);
        var daemonSets = await cluster.Client.Of<DaemonSet>().ListAsync(here, cancellationToken);
        return
        [
            .. PresentOrAbsent("istiod", "Deployment", deployments.Items.Where(d => d.Metadata.Labels.GetValueOrDefault("app") == "istiod" || d.Key.Name == "istiod")
                .Select(d => new PartStatus("istiod", "Deployment", d.Status.ReadyReplicas ?? 0, d.Spec.Replicas ?? 1, []))),
            .. OnEachNode("ztunnel"), .. OnEachNode("istio-cni-node"),
        ];

        IEnumerable<PartStatus> OnEachNode(string name) => PresentOrAbsent(name, "DaemonSet", daemonSets.Items.Where(d => d.Key.Name == name)
            .Select(d => new PartStatus(name, "DaemonSet", d.Status.NumberReady ?? 0, d.Status.DesiredNumberScheduled ?? 0, [])));
    }

    // A mesh without one of its parts does not work, so a part that is not there is shown, as none of none.
    private static IEnumerable<PartStatus> PresentOrAbsent(string name, string kind, IEnumerable<PartStatus> found) => found.DefaultIfEmpty(new PartStatus(name, kind, 0, 0, []));

    private static Task<Asked<AgentStatus>> AgentAsync(MeshCluster cluster, Pod pod, CancellationToken cancellationToken) => PartClient.TryAsync(async () =>
    {
        if (!IsRunning(pod)) return new AgentStatus(pod, null, false, 0, 0, [], null, [$"the pod is {pod.Status.Phase}"]);
        return Agent(pod, await cluster.Parts.JsonAsync(pod, PartClient.AgentStatus, "/status", cancellationToken));
    });

    /// <summary>An agent, as its page tells it.</summary>
    internal static AgentStatus Agent(Pod pod, JsonNode status) => new(
        pod, null, status.Flag("ready"), status.Number("ztunnels") ?? 0, status.Items("enrolled").Count(),
        [.. status.Objects("notEnrolled").Select(p => ($"{p["namespace"]}/{p["name"]}", p.Text("reason") ?? ""))],
        status.Time("lastVerification"), [.. status.Items("problems").Select(AnswerJson.Text).OfType<string>()]);

    // Not every control plane has every page; its absence is no problem of the mesh.
    private static async Task<JsonNode?> PageAsync(MeshCluster cluster, MeshPods pods, string page, CancellationToken cancellationToken)
    {
        if (pods.ControlPlanes.FirstOrDefault(p => p.Is("Ready")) is not { } pod) return null;
        return (await PartClient.TryAsync(() => cluster.Parts.JsonAsync(pod, PartClient.ControlPlaneDebug, page, cancellationToken))).Answer;
    }
}
