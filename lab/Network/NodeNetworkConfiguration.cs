using System.Text.Json.Nodes;
using AmbientMesh.Lab.Nodes;

namespace AmbientMesh.Lab.Network;

/// <summary>The cluster's own CNI on a node: Debian's bridge, host-local and portmap, into whose list the mesh's plugin is later chained.</summary>
public static class NodeNetworkConfiguration
{
    /// <summary>Where Debian's containernetworking-plugins keeps them.</summary>
    public const string PluginSource = "/usr/lib/cni";

    public const string FileName = "10-mesh-lab.conflist";

    /// <summary>Puts the plugins and the configuration list where the node's runtime finds them.</summary>
    public static async Task InstallAsync(NodeHost node, CancellationToken cancellationToken)
    {
        var plugins = node.HostPath(CniChain.PluginDirectory);
        foreach (var plugin in (string[])["bridge", "host-local", "loopback", "portmap"]) File.Copy($"{PluginSource}/{plugin}", $"{plugins}/{plugin}", overwrite: true);
        await File.WriteAllTextAsync($"{node.HostPath(CniChain.ConfigurationDirectory)}/{FileName}", List(node.Number, node.Families).ToString(), cancellationToken);
    }

    internal static JsonObject List(int nodeNumber, AddressFamilies families) => new()
    {
        ["cniVersion"] = "1.0.0",
        ["name"] = "mesh-lab",
        ["plugins"] = new JsonArray(
            new JsonObject
            {
                ["type"] = "bridge",
                ["bridge"] = "cni0",
                ["isGateway"] = true,
                ["ipMasq"] = false,
                ["hairpinMode"] = true,
                ["promiscMode"] = false,
                ["ipam"] = new JsonObject
                {
                    ["type"] = "host-local",
                    ["dataDir"] = "/var/lib/cni/networks",
                    ["ranges"] = new JsonArray([.. LabAddresses.NodePodCidrs(nodeNumber, families).Select(Range)]),
                    ["routes"] = new JsonArray([.. (families == AddressFamilies.Ipv6 ? (string[])["::/0"] : ["0.0.0.0/0", "::/0"]).Select(to => new JsonObject { ["dst"] = to })]),
                },
            },
            new JsonObject { ["type"] = "portmap", ["capabilities"] = new JsonObject { ["portMappings"] = true } }),
    };

    private static JsonArray Range(string subnet) => new(new JsonObject { ["subnet"] = subnet });
}
