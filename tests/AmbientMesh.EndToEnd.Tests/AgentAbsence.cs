using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace AmbientMesh.EndToEnd.Tests;

/// <summary>While it lives, node agents that end do not come back: their DaemonSet names an image that nobody has. Its end puts back the image and the update strategy that were found.</summary>
internal sealed class AgentAbsence : IAsyncDisposable
{
    private const string Agents = "istio-cni-node";
    private const string Container = "install-cni";
    private readonly ClusterFixture _cluster;
    private readonly string _back;

    private AgentAbsence(ClusterFixture cluster, string back) => (_cluster, _back) = (cluster, back);

    public static async Task<AgentAbsence> BeginAsync(ClusterFixture cluster)
    {
        using var found = JsonDocument.Parse(await cluster.Run.MustKubectlAsync(Patience.Token, "get", "daemonset", "-n", "istio-system", Agents, "-o", "json"));
        var spec = found.RootElement.GetProperty("spec");
        var image = spec.GetProperty("template").GetProperty("spec").GetProperty("containers").EnumerateArray().Single(c => c.GetProperty("name").GetString() == Container).GetProperty("image").GetString();
        var absence = new AgentAbsence(cluster, Change(JsonNode.Parse(spec.GetProperty("updateStrategy").GetRawText())!, image!));
        await absence.PatchAsync(Change(new JsonObject { ["type"] = "OnDelete", ["rollingUpdate"] = null }, "localhost/no-such-image:dev"), Patience.Token);
        // A pod that is deleted before the controller has seen the change comes back with the image of before.
        var limit = Patience.Token;
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(200));
        while (!IsObserved(await cluster.Run.MustKubectlAsync(limit, "get", "daemonset", "-n", "istio-system", Agents, "-o", "jsonpath={.status.observedGeneration} {.metadata.generation}"))) await timer.WaitForNextTickAsync(limit);
        return absence;
    }

    /// <summary>Completes when the agents that were deleted are followed on every node by one that waits for its image: from then on there is none.</summary>
    public async Task EverywhereAsync()
    {
        var limit = Patience.Token;
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(200));
        while (true)
        {
            var wanted = await _cluster.Run.MustKubectlAsync(limit, "get", "daemonset", "-n", "istio-system", Agents, "-o", "jsonpath={.status.desiredNumberScheduled}");
            using var pods = JsonDocument.Parse(await _cluster.Run.MustKubectlAsync(limit, "get", "pods", "-n", "istio-system", "-l", $"k8s-app={Agents}", "-o", "json"));
            var waiting = pods.RootElement.GetProperty("items").EnumerateArray().Select(WaitsForImage).ToList();
            if (waiting.Count > 0 && waiting.Count == int.Parse(wanted, CultureInfo.InvariantCulture) && waiting.TrueForAll(waits => waits)) return;
            await timer.WaitForNextTickAsync(limit);
        }
    }

    private static bool IsObserved(string generations) =>
        generations.Split(' ') is [var observed, var wanted] && long.TryParse(observed, CultureInfo.InvariantCulture, out var seen) && seen >= long.Parse(wanted, CultureInfo.InvariantCulture);

    private static bool WaitsForImage(JsonElement pod) =>
        pod.GetProperty("status").TryGetProperty("containerStatuses", out var containers) && containers.EnumerateArray().Any(c =>
            c.GetProperty("name").GetString() == Container && c.GetProperty("state").TryGetProperty("waiting", out var waiting)
            && waiting.GetProperty("reason").GetString() is "ErrImagePull" or "ErrImageNeverPull" or "ImagePullBackOff");

    public async ValueTask DisposeAsync()
    {
        using var limit = new CancellationTokenSource(Patience.Limit);   // also when the test was cancelled
        await PatchAsync(_back, limit.Token);
    }

    private Task PatchAsync(string change, CancellationToken cancellationToken) => _cluster.Run.MustKubectlAsync(cancellationToken, "patch", "daemonset", "-n", "istio-system", Agents, "--type=strategic", "-p", change);

    private static string Change(JsonNode strategy, string image) => new JsonObject
    {
        ["spec"] = new JsonObject
        {
            ["updateStrategy"] = strategy,
            ["template"] = new JsonObject { ["spec"] = new JsonObject { ["containers"] = new JsonArray(new JsonObject { ["name"] = Container, ["image"] = image }) } },
        },
    }.ToJsonString();
}
