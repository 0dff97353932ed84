using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.Cli.CommandLine;
using AmbientMesh.Cli.Reaching;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.Cli.ZtunnelConfig;

/// <summary>One dump: where it is from, its text and what was read of it.</summary>
internal sealed record NamedDump(string Origin, JsonNode Document, ZtunnelDump Dump);

/// <summary>Where dumps come from: a file, the ztunnel of a node, a pod by name (a ztunnel, or a pod whose node's ztunnel is meant), or every ztunnel.</summary>
internal static class DumpSource
{
    /// <summary>Dumps of a file.</summary>
    /// <exception cref="MeshctlException">The file cannot be read or is no configuration dump.</exception>
    public static async Task<NamedDump> ReadFileAsync(string path, CancellationToken cancellationToken)
    {
        try
        {
            return Parse(path, await File.ReadAllBytesAsync(path, cancellationToken));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new MeshctlException($"The dump {path} cannot be read: {e.Message}", e);
        }
    }

    /// <summary>The ztunnel pods meant by a pod's name or a node; all of them without either.</summary>
    /// <exception cref="MeshctlException">Nothing of that name is there.</exception>
    public static async Task<IReadOnlyList<Pod>> ZtunnelsAsync(MeshCluster cluster, string? pod, string? node, CancellationToken cancellationToken)
    {
        var all = (await cluster.PodsAsync(cancellationToken)).Ztunnels;
        if (all.Count == 0) throw new MeshctlException($"No ztunnel runs in namespace {cluster.MeshNamespace}.");
        if (pod is null && node is null) return all;
        if (pod is not null)
        {
            var (ns, name) = PodName.Parse(pod, cluster.DefaultNamespace);
            if (all.FirstOrDefault(z => z.Key.Name == name) is { } own) return [own];
            var found = await cluster.Client.Of<Pod>().GetAsync(ns, name, cancellationToken) ?? throw new MeshctlException($"There is neither a ztunnel {name} nor a pod {ns}/{name}; name pods of another namespace as namespace/name or name.namespace.");
            node = found.Spec.NodeName ?? throw new MeshctlException($"Pod {ns}/{name} is on no node yet.");
        }
        var there = all.Where(z => z.Spec.NodeName == node).ToList();
        return there.Count > 0 ? there : throw new MeshctlException($"No ztunnel runs on node {node}; ztunnels run on {string.Join(", ", all.Select(z => z.Spec.NodeName))}.");
    }

    /// <summary>The dump of one ztunnel.</summary>
    /// <exception cref="MeshctlException">It cannot be asked.</exception>
    public static async Task<NamedDump> AskAsync(MeshCluster cluster, Pod ztunnel, CancellationToken cancellationToken) =>
        Parse(ztunnel.Key.Name, await cluster.Parts.PageAsync(ztunnel, PartClient.ZtunnelAdmin, "/config_dump", cancellationToken));

    /// <exception cref="MeshctlException">It is no dump.</exception>
    internal static NamedDump Parse(string origin, byte[] text)
    {
        try
        {
            var document = AnswerJson.Read(text) as JsonObject ?? throw new JsonException("it is no object");
            if (!document.ContainsKey("workloads")) throw new JsonException("it has no workloads");
            return new NamedDump(origin, document, AnswerJson.As(document, ZtunnelDumpJson.Default.ZtunnelDump));
        }
        catch (JsonException e)
        {
            throw new MeshctlException($"{origin} is not a ztunnel's configuration dump: {e.Message}", e);
        }
    }
}
