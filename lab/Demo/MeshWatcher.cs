using System.Text.Json;

namespace AmbientMesh.Lab.Demo;

/// <summary>Asks the mesh's parts what they know, the way an operator can: through kubectl.</summary>
public sealed class MeshWatcher(CommandRunner run, TimeProvider clock)
{
    private const string System = "istio-system";
    private static readonly TimeSpan Between = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    /// <summary>The ztunnel pod of each node.</summary>
    public async Task<IReadOnlyDictionary<string, string>> ZtunnelsByNodeAsync(CancellationToken cancellationToken)
    {
        var text = await run.MustKubectlAsync(cancellationToken, "get", "pods", "-n", System, "-l", "app=ztunnel", "--sort-by=.metadata.creationTimestamp", "-o", "jsonpath={range .items[*]}{.spec.nodeName}={.metadata.name} {end}");
        var byNode = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var pod in text.Split(' ', StringSplitOptions.RemoveEmptyEntries)) byNode[pod.Split('=')[0]] = pod.Split('=')[1];   // while one is replaced, the newer
        return byNode;
    }

    /// <summary>An answer of a ztunnel's own HTTP endpoints: 15000 admin, 15020 metrics.</summary>
    public Task<string> ZtunnelAsync(string pod, int port, string path, CancellationToken cancellationToken) =>
        run.MustKubectlAsync(cancellationToken, "exec", "-n", System, pod, "--", "/app/ztunnel", "request", $"http://localhost:{port}{path}");

    /// <summary>Completes when every ztunnel reaches the given pods of the namespace by <paramref name="protocol"/> (HBONE or TCP) and takes them for healthy.</summary>
    /// <exception cref="CommandFailedException">One still did not after a minute.</exception>
    public async Task AllReachByAsync(string protocol, string ns, IReadOnlySet<string> pods, CancellationToken cancellationToken)
    {
        var started = clock.GetTimestamp();
        using var timer = new PeriodicTimer(Between, clock);
        var missing = "";
        while (clock.GetElapsedTime(started) < Patience)
        {
            missing = "";
            foreach (var ztunnel in (await ZtunnelsByNodeAsync(cancellationToken)).Values)
                if (!Reaches(await ZtunnelAsync(ztunnel, 15000, "/config_dump", cancellationToken), protocol, ns, pods)) missing = ztunnel;
            if (missing.Length == 0) return;
            await timer.WaitForNextTickAsync(cancellationToken);
        }
        throw new CommandFailedException($"{missing} did not learn within {Patience.TotalSeconds:0} s that {string.Join(", ", pods)} of {ns} speak {protocol} and are healthy; kubectl logs -n {System} deploy/istiod may say why.");
    }

    public async Task<IReadOnlyList<ShopPod>> PodsAsync(string ns, CancellationToken cancellationToken) =>
        ShopPod.Parse(await run.MustKubectlAsync(cancellationToken, "get", "pods", "-n", ns, "-o", "json"));

    /// <summary>Completes when <paramref name="holds"/> is true of every pod of the namespace.</summary>
    /// <exception cref="CommandFailedException">It was not after a minute; <paramref name="what"/> names the state that was awaited.</exception>
    public async Task AllPodsAsync(string ns, Func<ShopPod, bool> holds, string what, CancellationToken cancellationToken)
    {
        var started = clock.GetTimestamp();
        using var timer = new PeriodicTimer(Between, clock);
        while (true)
        {
            var missing = (await PodsAsync(ns, cancellationToken)).Where(p => !holds(p)).Select(p => p.Name).ToList();
            if (missing.Count == 0) return;
            if (clock.GetElapsedTime(started) > Patience) throw new CommandFailedException($"{string.Join(", ", missing)} in {ns} not {what} within {Patience.TotalSeconds:0} s; kubectl get events -n {ns} may say why.");
            await timer.WaitForNextTickAsync(cancellationToken);
        }
    }

    private static bool Reaches(string configDump, string protocol, string ns, IReadOnlySet<string> pods)
    {
        using var document = JsonDocument.Parse(configDump);
        return document.RootElement.GetProperty("workloads").EnumerateArray()
            .Count(w => Is(w, "namespace", ns) && Is(w, "protocol", protocol) && Is(w, "status", "Healthy") && pods.Contains(w.GetProperty("name").GetString()!)) == pods.Count;
    }

    private static bool Is(JsonElement workload, string property, string value) => workload.GetProperty(property).GetString() == value;
}
