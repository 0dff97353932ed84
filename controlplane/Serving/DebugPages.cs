using System.Text.Json;
using AmbientMesh.ControlPlane.Certificates;
using AmbientMesh.ControlPlane.Collections;
using AmbientMesh.ControlPlane.Discovery;
using AmbientMesh.ControlPlane.Translation;
using AmbientMesh.Xds;
using Google.Protobuf;

namespace AmbientMesh.ControlPlane.Serving;

/// <summary>What the control plane holds and what its clients have, as JSON. Read-only.</summary>
/// <param name="mesh">Its collections.</param>
/// <param name="loop">The thread on which they are read.</param>
/// <param name="server">Its clients.</param>
/// <param name="clusterId">Told with each client.</param>
/// <param name="authority">The CA in force.</param>
/// <param name="rotation">When its root is exchanged, if it is a self-signed one.</param>
internal sealed class DebugPages(MeshCollections mesh, CollectionLoop loop, DeltaDiscoveryServer server, string clusterId, SigningAuthority authority, RootRotationOptions rotation)
{
    private static readonly JsonWriterOptions Indented = new() { Indented = true };

    /// <summary>Path below /debug/ and what it shows.</summary>
    public static IReadOnlyList<(string Path, string Shows)> Pages { get; } =
    [
        ("syncz", "each client, by type: last response sent, last acknowledged, what it rejects"),
        ("connections", "each client: node, address, since when"),
        ("config_dump", "resources served; ?type=address, workload, service or authorization, ?name= for one"),
        ("origins", "the Kubernetes objects that made a resource: kind, namespace, name, generation; ?name= for one, repeatable"),
        ("collectionz", "size of each collection"),
        ("certificates", "the CA in force: what signs, which roots are trusted, the next step in the exchange of a self-signed root"),
        ("coverage", "how much of the mesh is protected: pods, gaps and why, traffic by mutual TLS and plaintext; ?limit= pairs, ?refresh asks every node now"),
    ];

    /// <summary>The page as JSON; null when there is no such page or type.</summary>
    public async Task<byte[]?> RenderAsync(string page, string? type, IReadOnlyList<string> names, CancellationToken cancellationToken) => page switch
    {
        "" => Render(WriteIndex),
        "syncz" => Render(WriteSync),
        "connections" => Render(WriteConnections),
        "certificates" => Render(json => CertificatePage.Write(json, authority, rotation)),
        "origins" => await loop.ReadAsync(() => Render(json => OriginPage.Write(json, mesh, names)), cancellationToken),
        "collectionz" => await loop.ReadAsync(() => Render(WriteSizes), cancellationToken),
        "config_dump" when (type ?? "address") is "address" or "workload" or "service" or "authorization" =>
            await DumpAsync(type ?? "address", names.Count > 0 ? names[0] : null, cancellationToken),
        _ => null,
    };

    private static byte[] Render(Action<Utf8JsonWriter> write)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, Indented)) write(json);
        return buffer.ToArray();
    }

    private async Task<byte[]> DumpAsync(string type, string? name, CancellationToken cancellationToken)
    {
        var resources = await loop.ReadAsync(() => Resources(type).Where(r => name is null || r.Name == name).ToList(), cancellationToken);   // messages do not change, so writing need not hold up the loop
        return Render(json =>
        {
            json.WriteStartObject();
            foreach (var (resource, message) in resources.OrderBy(r => r.Name, StringComparer.Ordinal))
            {
                json.WritePropertyName(resource);
                ResourceText.Write(json, message);
            }
            json.WriteEndObject();
        });
    }

    private IEnumerable<(string Name, IMessage Message)> Resources(string type) => type switch
    {
        "authorization" => mesh.Authorizations.Items.Select(i => (i.Key, (IMessage)i.Value)),
        "workload" => mesh.Addresses.Items.Where(i => i.Value.Message.Workload is not null).Select(i => (i.Key, (IMessage)i.Value.Message.Workload)),
        "service" => mesh.Addresses.Items.Where(i => i.Value.Message.Service is not null).Select(i => (i.Key, (IMessage)i.Value.Message.Service)),
        _ => mesh.Addresses.Items.Select(i => (i.Key, (IMessage)i.Value.Message)),
    };

    private static void WriteIndex(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        foreach (var (path, shows) in Pages) json.WriteString($"/debug/{path}", shows);
        json.WriteEndObject();
    }

    private void WriteSizes(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteNumber("namespaces", mesh.Namespaces.Count);
        json.WriteNumber("nodes", mesh.Nodes.Count);
        json.WriteNumber("pods", mesh.Pods.Count);
        json.WriteNumber("services", mesh.Services.Count);
        json.WriteNumber("endpointslices", mesh.EndpointSlices.Count);
        json.WriteNumber("authorizationpolicies", mesh.Policies.AuthorizationPolicies.Count);
        json.WriteNumber("peerauthentications", mesh.Policies.PeerAuthentications.Count);
        json.WriteNumber("serviceentries", mesh.Entries.ServiceEntries.Count);
        json.WriteNumber("workloadentries", mesh.Entries.WorkloadEntries.Count);
        json.WriteNumber("gateways", mesh.Waypoints.Gateways.Count);
        json.WriteNumber("addresses", mesh.Addresses.Count);
        json.WriteNumber("authorizations", mesh.Authorizations.Count);
        json.WriteNumber("pod_computations", mesh.PodWorkloads.Computations);
        json.WriteEndObject();
    }

    private void WriteConnections(Utf8JsonWriter json)
    {
        json.WriteStartArray();
        foreach (var client in Clients())
        {
            json.WriteStartObject();
            json.WriteString("node", client.NodeId);
            json.WriteString("address", client.Peer?.ToString());
            json.WriteString("connected_at", client.Since);
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }

    private void WriteSync(Utf8JsonWriter json)
    {
        json.WriteStartArray();
        foreach (var client in Clients())
        {
            json.WriteStartObject();
            json.WriteString("cluster_id", clusterId);
            json.WriteString("proxy", client.NodeId.Split('~') is [_, _, var name, _] ? name : client.NodeId);
            json.WriteString("proxy_type", "ztunnel");
            json.WriteString("connected_at", client.Since);
            json.WriteStartObject("types");
            foreach (var type in client.Types.OrderBy(t => t.TypeUrl, StringComparer.Ordinal)) WriteType(json, type);
            json.WriteEndObject();
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }

    private static void WriteType(Utf8JsonWriter json, ClientTypeStatus type)
    {
        json.WriteStartObject(type.TypeUrl);
        json.WriteBoolean("synced", type.IsSynced);
        json.WriteString("nonce_sent", type.SentNonce);
        json.WriteString("nonce_acked", type.AcknowledgedNonce);
        if (type.LastSent is { } sent) json.WriteString("last_push", sent);
        json.WriteBoolean("wildcard", type.IsWildcard);
        json.WriteNumber("names", type.Names);
        json.WriteStartObject("rejected");
        foreach (var rejection in type.Rejections) json.WriteString(rejection.Name, rejection.Reason);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private IEnumerable<DiscoveryClientStatus> Clients() => server.Clients.OrderBy(c => c.NodeId, StringComparer.Ordinal).ThenBy(c => c.Since);
}
