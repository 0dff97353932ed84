using AmbientMesh.Cli.CommandLine;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.Cli.Reaching;

/// <summary>Which cluster and which installation a command means.</summary>
/// <param name="Namespace">Of names given without one; null: the context's.</param>
/// <param name="MeshNamespace">Where the mesh is installed.</param>
public sealed record ClusterChoice(string? Kubeconfig, string? Context, string? Namespace, string MeshNamespace);

/// <summary>The pods the mesh is made of, as the API server lists them.</summary>
public sealed record MeshPods(IReadOnlyList<Pod> ControlPlanes, IReadOnlyList<Pod> Ztunnels, IReadOnlyList<Pod> Agents)
{
    public bool IsEmpty => ControlPlanes.Count + Ztunnels.Count + Agents.Count == 0;
}

/// <summary>A cluster and the mesh in it.</summary>
public sealed class MeshCluster : IDisposable
{
    /// <summary>Labels by which the parts are found; the same as Istio's.</summary>
    public const string ControlPlaneSelector = "app=istiod", ZtunnelSelector = "app=ztunnel", AgentSelector = "k8s-app=istio-cni-node";

    private MeshCluster(KubernetesClient client, ClusterChoice choice, TimeProvider clock)
    {
        (Client, MeshNamespace, Clock) = (client, choice.MeshNamespace, clock);
        DefaultNamespace = choice.Namespace ?? client.Connection.Namespace;
        Parts = new PartClient(new PodPorts(client), clock);
    }

    public KubernetesClient Client { get; }
    public PartClient Parts { get; }
    public TimeProvider Clock { get; }
    public string MeshNamespace { get; }

    /// <summary>Of names given without one.</summary>
    public string DefaultNamespace { get; }

    /// <exception cref="KubernetesConfigurationException">The kubeconfig is missing or unusable.</exception>
    public static MeshCluster Open(ClusterChoice choice, Surroundings surroundings)
    {
        var connection = KubernetesConnection.Find(choice.Kubeconfig, surroundings.Environment, surroundings.Clock, choice.Context, runsPlugins: true);
        var client = new KubernetesClient(connection, new KubernetesClientOptions { Name = "meshctl", RequestTimeout = TimeSpan.FromSeconds(15), Clock = surroundings.Clock });
        return new MeshCluster(client, choice, surroundings.Clock);
    }

    /// <summary>The mesh's pods.</summary>
    /// <exception cref="MeshctlException">The mesh is not installed here.</exception>
    /// <exception cref="KubernetesException">They cannot be listed.</exception>
    public async Task<MeshPods> PodsAsync(CancellationToken cancellationToken)
    {
        var pods = new MeshPods(await ListAsync(ControlPlaneSelector), await ListAsync(ZtunnelSelector), await ListAsync(AgentSelector));
        return pods.IsEmpty
            ? throw new MeshctlException($"The mesh is not installed in namespace {MeshNamespace} of {Client.Connection.Server}: it has no pods labelled {ControlPlaneSelector}, {ZtunnelSelector} or {AgentSelector}. Install it with 'kubectl apply -k deploy', or name its namespace with --mesh-namespace.")
            : pods;

        async Task<IReadOnlyList<Pod>> ListAsync(string selector)
        {
            var list = await Client.Of<Pod>().ListAsync(new Selection { Namespace = MeshNamespace, LabelSelector = selector }, cancellationToken);
            return [.. list.Items.Where(p => p.Metadata.DeletionTimestamp is null).OrderBy(p => (p.Spec.NodeName ?? "", p.Key.Name))];
        }
    }

    public void Dispose() => Client.Dispose();
}
