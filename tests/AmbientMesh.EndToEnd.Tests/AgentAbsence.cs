using System.Text.Json;
using System.Text.Json.Nodes;

namespace AmbientMesh.EndToEnd.Tests;

/// <summary>While it lives, node agents that end do not come back: their DaemonSet names an image that nobody has. Its end puts back the image and the update strategy that were found.</summary>
internal sealed class AgentAbsence : IAsyncDisposable
{
    private const string Container = "install-cni";
    private readonly ClusterFixture _cluster;
    private readonly string _back;

    private AgentAbsence(ClusterFixture cluster, string back) => (_cluster, _back) = (cluster, back);

    public static async Task<AgentAbsence> BeginAsync(ClusterFixture cluster)
    {
        using var found = JsonDocument.Parse(await cluster.Run.MustKubectlAsync(Patience.Token, "get", "daemonset", "-n", "istio-system", "istio-cni-node", "-o", "json"));
        var spec = found.RootElement.GetProperty("spec");
        var image = spec.GetProperty("template").GetProperty("spec").GetProperty("containers").EnumerateArray().Single(c => c.GetProperty("name").GetString() == Container).GetProperty("image").GetString();
        var absence = new AgentAbsence(cluster, Change(JsonNode.Parse(spec.GetProperty("updateStrategy").GetRawText())!, image!));
        await absence.PatchAsync(Change(new JsonObject { ["type"] = "OnDelete", ["rollingUpdate"] = null }, "localhost/no-such-image:dev"), Patience.Token);
        return absence;
    }

    public async ValueTask DisposeAsync()
    {
        using var limit = new CancellationTokenSource(Patience.Limit);   // also when the test was cancelled
        await PatchAsync(_back, limit.Token);
    }

    private Task PatchAsync(string change, CancellationToken cancellationToken) => _cluster.Run.MustKubectlAsync(cancellationToken, "patch", "daemonset", "-n", "istio-system", "istio-cni-node", "--type=strategic", "-p", change);

    private static string Change(JsonNode strategy, string image) => new JsonObject
    {
        ["spec"] = new JsonObject
        {
            ["updateStrategy"] = strategy,
            ["template"] = new JsonObject { ["spec"] = new JsonObject { ["containers"] = new JsonArray(new JsonObject { ["name"] = Container, ["image"] = image }) } },
        },
    }.ToJsonString();
}
