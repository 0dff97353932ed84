using AmbientMesh.Lab.Demo;

namespace AmbientMesh.EndToEnd.Tests;

/// <summary>A Kubernetes namespace of a test's own, with the sample programs in it; gone when disposed.</summary>
public sealed class TestNamespace : IAsyncDisposable
{
    private readonly ClusterFixture _cluster;

    private TestNamespace(ClusterFixture cluster, string name) => (_cluster, Name) = (cluster, name);

    public string Name { get; }

    /// <summary>Makes the namespace, in the mesh from the start when <paramref name="ambient"/>.</summary>
    public static async Task<TestNamespace> CreateAsync(ClusterFixture cluster, string prefix, bool ambient = false)
    {
        cluster.Require();
        var made = new TestNamespace(cluster, $"{prefix}-{Guid.NewGuid().ToString("N")[..6]}");
        await cluster.Run.MustKubectlAsync(Patience.Token, "create", "namespace", made.Name);
        if (ambient) await made.LabelAsync("istio.io/dataplane-mode=ambient");
        return made;
    }

    public Task LabelAsync(string label) => _cluster.Run.MustKubectlAsync(Patience.Token, "label", "namespace", Name, "--overwrite", label);

    /// <summary>Applies a manifest; <c>NAMESPACE</c> in it stands for this namespace.</summary>
    public async Task ApplyAsync(string yaml)
    {
        var file = Path.GetTempFileName();
        try
        {
            await File.WriteAllTextAsync(file, yaml.Replace("NAMESPACE", Name, StringComparison.Ordinal), Patience.Token);
            await _cluster.Run.MustKubectlAsync(Patience.Token, "apply", "-n", Name, "-f", file);
        }
        finally
        {
            File.Delete(file);
        }
    }

    /// <summary>Deploys server (two replicas on two nodes) and client, and waits until they are available.</summary>
    public async Task DeployShopAsync(int replicas = 2)
    {
        await ApplyAsync(Manifests.Server(replicas));
        await ApplyAsync(Manifests.Client);
        await _cluster.Run.MustKubectlAsync(Patience.Token, "rollout", "status", "-n", Name, "deployment/server", "--timeout=55s");
        await _cluster.Run.MustKubectlAsync(Patience.Token, "rollout", "status", "-n", Name, "deployment/client", "--timeout=55s");
    }

    public Task<IReadOnlyList<ShopPod>> PodsAsync() => _cluster.Mesh.PodsAsync(Name, Patience.Token);

    /// <summary>Waits until every pod is enrolled and every ztunnel knows it as one that is ready: not for namespaces with pods that never are.</summary>
    public async Task EnrolledAsync()
    {
        await _cluster.Mesh.AllPodsAsync(Name, p => p.IsEnrolled, "enrolled", Patience.Token);
        await _cluster.Mesh.AllReachByAsync("HBONE", Name, (await PodsAsync()).Select(p => p.Name).ToHashSet(), Patience.Token);
    }

    /// <summary>Runs the sample program in the client's pod.</summary>
    public Task<CommandResult> InClientAsync(params string[] arguments) =>
        _cluster.Run.KubectlAsync(Patience.Token, ["exec", "-n", Name, "deploy/client", "--", "/app/samples", .. arguments]);

    /// <summary>Waits for a rollout that takes its time: every node in turn, with drains.</summary>
    public async Task RolledOutAsync(string ns, string workload)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromMinutes(4));
        await _cluster.Run.MustKubectlAsync(limit.Token, "rollout", "status", "-n", ns, workload, "--timeout=230s");
    }

    public Task PodReadyAsync(string pod) => _cluster.Run.MustKubectlAsync(Patience.Token, "wait", $"pod/{pod}", "-n", Name, "--for=condition=Ready", "--timeout=55s");

    public string ServerUrl(string path) => $"http://server.{Name}.svc.cluster.local/{path}";

    public async ValueTask DisposeAsync() =>
        await _cluster.Run.KubectlAsync(CancellationToken.None, "delete", "namespace", Name, "--wait=false");
}
