using System.Globalization;
using AmbientMesh.Lab.Demo;

namespace AmbientMesh.EndToEnd.Tests;

/// <summary>A load pod on each node, calling the namespace's server: new connections at a steady rate, and long-lived ones.</summary>
internal sealed class MeshLoad
{
    private const int ReportPort = 19191;

    private readonly ClusterFixture _cluster;
    private readonly TestNamespace _shop;
    private readonly IReadOnlyList<string> _pods;
    private string? _losses;

    private MeshLoad(ClusterFixture cluster, TestNamespace shop, IReadOnlyList<string> pods) => (_cluster, _shop, _pods) = (cluster, shop, pods);

    /// <summary>Starts the pods, waits until they are enrolled where <paramref name="ambient"/>, and until the first connections are through.</summary>
    /// <param name="lifeSeconds">A long-lived connection ends in order after so long; 0 for the whole load.</param>
    public static async Task<MeshLoad> StartAsync(ClusterFixture cluster, TestNamespace shop, int perSecond = 20, int longLived = 5, int lifeSeconds = 0, string[]? nodes = null, bool ambient = true, string name = "load")
    {
        nodes ??= await NodesAsync(cluster);
        foreach (var node in nodes) await shop.ApplyAsync(Manifest(NameOn(name, node), node, perSecond, longLived, lifeSeconds));
        var load = new MeshLoad(cluster, shop, [.. nodes.Select(node => NameOn(name, node))]);
        foreach (var pod in load._pods) await cluster.Run.MustKubectlAsync(Patience.Token, "wait", $"pod/{pod}", "-n", shop.Name, "--for=condition=Ready", "--timeout=55s");
        if (ambient) await shop.EnrolledAsync();
        await load.RunningAsync();
        await load.MadeAsync(10);
        return load;
    }

    public static async Task<string[]> NodesAsync(ClusterFixture cluster) =>
        (await cluster.Run.MustKubectlAsync(Patience.Token, "get", "nodes", "-o", "jsonpath={.items[*].metadata.name}")).Split(' ', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>Completes when every load pod has made so many more connections.</summary>
    public async Task MadeAsync(int more)
    {
        var limit = Patience.Token;
        foreach (var pod in _pods)
        {
            var goal = (await AskAsync(pod, "")).Made + more;
            using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(250));
            while ((await AskAsync(pod, "")).Made < goal) await timer.WaitForNextTickAsync(limit);
        }
    }

    // A pod is ready when its program was started; the program answers a moment later.
    private async Task RunningAsync()
    {
        var limit = Patience.Token;
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(250));
        foreach (var pod in _pods)
            while (!(await TryAskAsync(pod, "")).Succeeded) await timer.WaitForNextTickAsync(limit);
    }

    /// <summary>Completes when so many long-lived connections were broken.</summary>
    public async Task BrokenAsync(int count)
    {
        var limit = Patience.Token;
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(500));
        while ((await CountsAsync()).LongLivedBroken < count) await timer.WaitForNextTickAsync(limit);
    }

    /// <summary>The counts of this moment, of all pods together.</summary>
    public async Task<LoadCounts> CountsAsync() => (await Task.WhenAll(_pods.Select(pod => AskAsync(pod, "")))).Aggregate((a, b) => a + b);

    /// <summary>Ends the load in order and tells its final counts.</summary>
    public async Task<LoadCounts> StopAsync()
    {
        var counts = (await Task.WhenAll(_pods.Select(StopAsync))).Aggregate((a, b) => a + b);
        _losses = await LossesAsync();
        await _cluster.Run.MustKubectlAsync(Patience.Token, ["delete", "pod", "-n", _shop.Name, "--grace-period=1", .. _pods]);
        return counts;
    }

    /// <summary>What the load pods said of each loss, for a failing test's message.</summary>
    public async Task<string> LossesAsync()
    {
        if (_losses is not null) return _losses;
        var lines = new List<string>();
        foreach (var pod in _pods)
            lines.AddRange((await _cluster.Run.KubectlAsync(Patience.Token, "logs", "-n", _shop.Name, pod)).Output.Split('\n').Where(l => l.Contains("lost a", StringComparison.Ordinal)).Select(l => $"{pod}: {l}"));
        return string.Join('\n', lines.Take(40));
    }

    private static string NameOn(string name, string node) => $"{name}-{node}";

    private async Task<LoadCounts> AskAsync(string pod, string path)
    {
        var answer = await TryAskAsync(pod, path);
        if (!answer.Succeeded) throw new CommandFailedException($"the load pod {pod} does not tell its counts: {answer.Output}{answer.Errors}");
        return LoadCounts.Parse(answer.Output);
    }

    // The container ends with the load, and may take the answer with it; the log keeps the last line.
    private async Task<LoadCounts> StopAsync(string pod)
    {
        await TryAskAsync(pod, "stop");
        var limit = Patience.Token;
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(250));
        while (true)
        {
            var log = await _cluster.Run.MustKubectlAsync(limit, "logs", "-n", _shop.Name, pod);
            if (log.Split('\n').LastOrDefault(line => line.Contains("\"over\":true", StringComparison.Ordinal)) is { } final) return LoadCounts.Parse(final);
            await timer.WaitForNextTickAsync(limit);
        }
    }

    private Task<CommandResult> TryAskAsync(string pod, string path) =>
        _cluster.Run.KubectlAsync(Patience.Token, "exec", "-n", _shop.Name, pod, "--", "/app/samples", "get", $"http://127.0.0.1:{ReportPort}/{path}");

    private static string Manifest(string name, string node, int perSecond, int longLived, int lifeSeconds) => string.Create(CultureInfo.InvariantCulture, $$"""
        apiVersion: v1
        kind: Pod
        metadata:
          name: {{name}}
          labels: {app: load}
        spec:
          terminationGracePeriodSeconds: 2
          restartPolicy: Never
          nodeName: {{node}}
          serviceAccountName: client
          containers:
          - name: load
            image: {{Manifests.Image}}
            imagePullPolicy: IfNotPresent
            command: [/app/samples, load, "server.NAMESPACE.svc.cluster.local:9090", --rate, "{{perSecond}}", --long-lived, "{{longLived}}",
                      --life-seconds, "{{lifeSeconds}}", --seconds, "900", --report, "{{ReportPort}}"]
        """);
}
