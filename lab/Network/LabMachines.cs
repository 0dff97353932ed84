using AmbientMesh.Lab.Nodes;

namespace AmbientMesh.Lab.Network;

/// <summary>The machines of one lab: the fabric and its nodes, connected, with the cluster's CNI installed.</summary>
public sealed class LabMachines : IAsyncDisposable
{
    private LabMachines(Fabric fabric, IReadOnlyList<NodeHost> nodes) => (Fabric, Nodes) = (fabric, nodes);

    public Fabric Fabric { get; }
    public IReadOnlyList<NodeHost> Nodes { get; }

    /// <param name="stateDirectory">The lab's folder; nodes get folders below it.</param>
    /// <exception cref="HostCommandException">A step failed; everything made so far is gone again.</exception>
    public static async Task<LabMachines> CreateAsync(string stateDirectory, ImageStore images, int nodeCount, CancellationToken cancellationToken, AddressFamilies families = AddressFamilies.Dual)
    {
        var making = Enumerable.Range(1, nodeCount)
            .Select(n => NodeHost.CreateAsync($"node-{n}", n, Path.Combine(stateDirectory, "nodes", $"node-{n}"), images, families, cancellationToken))
            .ToArray();
        var fabricMaking = Fabric.CreateAsync(families, cancellationToken);
        try
        {
            await Task.WhenAll([fabricMaking, .. making]);
            var machines = new LabMachines(await fabricMaking, await Task.WhenAll(making));
            foreach (var node in machines.Nodes)
            {
                await machines.Fabric.ConnectAsync(node, cancellationToken);
                await NodeNetworkConfiguration.InstallAsync(node, cancellationToken);
            }
            await machines.Fabric.ConnectPodNetworksAsync(machines.Nodes, cancellationToken);
            return machines;
        }
        catch
        {
            foreach (var made in making.Where(m => m.IsCompletedSuccessfully)) await (await made).DisposeAsync();
            if (fabricMaking.IsCompletedSuccessfully) await (await fabricMaking).DisposeAsync();
            throw;
        }
    }

    /// <summary>Starts a node again whose power was cut, and connects it; what is on its disk is left as it is.</summary>
    public async Task StartAgainAsync(NodeHost node, CancellationToken cancellationToken)
    {
        await node.StartAgainAsync(cancellationToken);
        await Fabric.ConnectAsync(node, cancellationToken);
        await Fabric.ConnectPodNetworksAsync(node, Nodes, cancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var node in Nodes) await node.DisposeAsync();
        await Fabric.DisposeAsync();
    }
}
