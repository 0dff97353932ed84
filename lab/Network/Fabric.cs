using System.Diagnostics;
using System.Text;
using AmbientMesh.Lab.Nodes;
using AmbientMesh.Linux;

namespace AmbientMesh.Lab.Network;

/// <summary>The wire between the nodes: a bridge in a network namespace of its own, with the fabric's address on it.</summary>
/// <remarks>The namespace lives in a process that ends when its standard input does, so it cannot outlive the lab's daemon.</remarks>
public sealed class Fabric : IAsyncDisposable
{
    public const string Bridge = "fabric0";
    private readonly Process _holder;

    private readonly AddressFamilies _families;

    private Fabric(Process holder, int processId, AddressFamilies families)
    {
        (_holder, _families) = (holder, families);
        ProcessId = processId;
        Network = NetworkNamespace.Open($"/proc/{processId}/ns/net");
    }

    /// <summary>The process whose network namespace the fabric is; <c>nsenter -t PID -n</c> enters it.</summary>
    public int ProcessId { get; }

    public NetworkNamespace Network { get; }

    public static async Task<Fabric> CreateAsync(AddressFamilies families, CancellationToken cancellationToken)
    {
        var ipv4 = families == AddressFamilies.Dual ? $"address add {LabAddresses.Fabric}/16 dev {Bridge}" : "";
        var holder = HostCommand.Start(["unshare", "--net", "bash", "-c", $"""
            set -e
            {NamespaceSysctls}
            sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
            ip -batch - <<'END'
            link set lo up
            link add {Bridge} type bridge
            link set {Bridge} up
            {ipv4}
            address add {LabAddresses.FabricV6}/64 dev {Bridge} nodad
            END
            echo ready
            read -r _ || true
            """]);
        await HolderReady.AwaitAsync(holder, "the fabric", cancellationToken);
        return new Fabric(holder, holder.Id, families);
    }

    /// <summary>Lays a cable to the node: its end is <c>eth0</c>, ours carries the node's name.</summary>
    public async Task ConnectAsync(NodeHost node, CancellationToken cancellationToken)
    {
        var (number, name) = (node.Number, node.Name);
        await HostCommand.RunAsync(["nsenter", "-t", $"{ProcessId}", "-n", "ip", "link", "delete", name], cancellationToken: cancellationToken);   // the cable of a machine that was switched off
        var batch = new StringBuilder()
            .AppendLine($"link add {name} type veth peer name eth0 netns {node.ProcessId}")
            .AppendLine($"link set {name} master {Bridge} up")
            .Append(PodRoutes("replace", number));
        await HostCommand.CheckAsync(["nsenter", "-t", $"{ProcessId}", "-n", "ip", "-batch", "-"], batch.ToString(), cancellationToken);
        var (ipv4Address, ipv4Route) = _families == AddressFamilies.Dual ? ($"address add {LabAddresses.Node(number)}/16 dev eth0", $"route add default via {LabAddresses.Fabric}") : ("", "");
        await node.CheckAsync(["ip", "-batch", "-"], $"""
            {ipv4Address}
            address add {LabAddresses.NodeV6(number)}/64 dev eth0 nodad
            link set eth0 up
            {ipv4Route}
            route add default via {LabAddresses.FabricV6}

            """, cancellationToken);
    }

    /// <summary>Tells every node where the other nodes' pods are.</summary>
    public async Task ConnectPodNetworksAsync(IReadOnlyList<NodeHost> nodes, CancellationToken cancellationToken)
    {
        foreach (var node in nodes) await ConnectPodNetworksAsync(node, nodes, cancellationToken);
    }

    /// <summary>Tells one node where the others' pods are.</summary>
    public async Task ConnectPodNetworksAsync(NodeHost node, IReadOnlyList<NodeHost> nodes, CancellationToken cancellationToken)
    {
        var batch = new StringBuilder();
        foreach (var other in nodes.Where(n => n != node)) batch.Append(PodRoutes("add", other.Number));
        await node.CheckAsync(["ip", "-batch", "-"], batch.ToString(), cancellationToken);
    }

    private string PodRoutes(string verb, int number) =>
        string.Concat(LabAddresses.NodePodCidrs(number, _families).Zip(LabAddresses.NodeAddresses(number, _families), (pods, via) => $"route {verb} {pods} via {via}\n"));

    /// <summary>No address is announced or doubted for a second before it may be used: nobody else is on these wires.</summary>
    internal const string NamespaceSysctls =
        "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.dad_transmits=0 " +
        "net.ipv6.conf.all.accept_ra=0 net.ipv6.conf.default.accept_ra=0 net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0";

    public async ValueTask DisposeAsync()
    {
        Network.Dispose();
        await HolderReady.EndAsync(_holder);
    }
}
