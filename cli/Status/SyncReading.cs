using System.Text.Json.Nodes;
using AmbientMesh.Cli.CommandLine;
using AmbientMesh.Cli.Reaching;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.Cli.Status;

/// <summary>Which control plane replica serves which ztunnel, and what that one has acknowledged.</summary>
internal static class SyncReading
{
    /// <summary>A client as one replica's /debug/syncz tells it.</summary>
    internal sealed record Client(string ControlPlane, string Proxy, string? Cluster, DateTimeOffset? ConnectedAt, IReadOnlyList<TypeSync> Types);

    /// <summary>The state of some ztunnels; replicas that do not answer are passed over.</summary>
    public static async Task<IReadOnlyList<ZtunnelStatus>> ReadAsync(MeshCluster cluster, MeshPods pods, IReadOnlyList<Pod> ztunnels, CancellationToken cancellationToken)
    {
        var answers = await ClientsAsync(cluster, pods, cancellationToken);
        if (!answers.Any(a => a.Answer is not null)) return [];
        var clients = answers.SelectMany(a => a.Answer ?? []).ToLookup(c => c.Proxy, StringComparer.Ordinal);
        return [.. ztunnels.Select(z => Status(z, null, clients))];
    }

    /// <summary>The clients of every running replica.</summary>
    public static Task<Asked<IReadOnlyList<Client>>[]> ClientsAsync(MeshCluster cluster, MeshPods pods, CancellationToken cancellationToken) =>
        Task.WhenAll(pods.ControlPlanes.Where(p => p.Status.Phase == "Running").Select(pod => OfReplicaAsync(cluster, pod, cancellationToken)));

    public static ZtunnelStatus Status(Pod pod, string? version, ILookup<string, Client> clients)
    {
        // After a reconnect an old stream may linger at another replica: the newest counts.
        var client = clients[$"{pod.Key.Name}.{pod.Metadata.Namespace}"].OrderBy(c => c.ConnectedAt ?? DateTimeOffset.MinValue).LastOrDefault();
        return new ZtunnelStatus(pod, version, client?.ControlPlane, client?.Cluster, client?.ConnectedAt, client?.Types ?? []);
    }

    private static Task<Asked<IReadOnlyList<Client>>> OfReplicaAsync(MeshCluster cluster, Pod pod, CancellationToken cancellationToken) => PartClient.TryAsync<IReadOnlyList<Client>>(async () =>
    {
        var page = await cluster.Parts.JsonAsync(pod, PartClient.ControlPlaneDebug, "/debug/syncz", cancellationToken);
        return Clients(pod.Key.Name, page) ?? throw new MeshctlException($"The control plane {pod.Key.Name} answered /debug/syncz with something that is no list.");
    });

    /// <summary>The clients of a replica, as its page tells them; null when it is no list.</summary>
    internal static IReadOnlyList<Client>? Clients(string replica, JsonNode page) => page is not JsonArray clients ? null :
    [
        .. clients.OfType<JsonObject>().Select(client => new Client(
            replica, client.Text("proxy") ?? "", client.Text("cluster_id"), client.Time("connected_at"),
            [.. ((client["types"] as JsonObject) ?? []).Where(t => t.Value is JsonObject).Select(t => Type(t.Key, (JsonObject)t.Value!))])),
    ];

    private static TypeSync Type(string url, JsonObject type) => new(
        url, type.Flag("synced"), type.Text("nonce_sent") ?? "", type.Text("nonce_acked") ?? "", type.Time("last_push"),
        [.. ((type["rejected"] as JsonObject) ?? []).Select(r => (r.Key, AnswerJson.Text(r.Value) ?? ""))]);
}
