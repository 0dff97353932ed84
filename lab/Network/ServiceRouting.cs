using System.Collections.Concurrent;
using System.Threading.Channels;
using AmbientMesh.Lab.Api.Storage;
using AmbientMesh.Lab.Controllers;
using AmbientMesh.Lab.Nodes;

namespace AmbientMesh.Lab.Network;

/// <summary>Keeps the service rules of all nodes as Services and EndpointSlices say.</summary>
internal sealed class ServiceRouting(ClusterStore store, IReadOnlyList<NodeHost> nodes, Action<string> report)
{
    private static readonly TimeSpan s_settle = TimeSpan.FromMilliseconds(20);
    private readonly Channel<bool> _changed = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly ConcurrentDictionary<string, string> _applied = new();

    /// <summary>Writes the rules of this moment to every node.</summary>
    public async Task ApplyAsync(CancellationToken cancellationToken)
    {
        var (services, slices) = (store.List(Resources.Services).Items, store.List(Resources.EndpointSlices).Items);
        foreach (var node in nodes)
        {
            var rules = ServiceRules.For(services, slices, node.Name);
            if (_applied.GetValueOrDefault(node.Name) == rules) continue;
            await node.CheckAsync(["nft", "-f", "-"], rules, cancellationToken);
            _applied[node.Name] = rules;
        }
    }

    /// <summary>A node has lost its rules: they are written again.</summary>
    public void Renew(NodeHost node)
    {
        _applied.TryRemove(node.Name, out _);
        _changed.Writer.TryWrite(true);
    }

    public Task RunAsync(CancellationToken cancellationToken) => Task.WhenAll(
        WatchAsync(store.Watch(Resources.Services), cancellationToken), WatchAsync(store.Watch(Resources.EndpointSlices), cancellationToken), WorkAsync(cancellationToken));

    private async Task WatchAsync(WatchStream watch, CancellationToken cancellationToken)
    {
        using (watch)
        {
            await foreach (var _ in watch.ReadAllAsync(cancellationToken)) _changed.Writer.TryWrite(true);
        }
    }

    private async Task WorkAsync(CancellationToken cancellationToken)
    {
        await foreach (var _ in _changed.Reader.ReadAllAsync(cancellationToken))
        {
            await Task.Delay(s_settle, TimeProvider.System, cancellationToken);   // one rollout writes many times
            try
            {
                await ApplyAsync(cancellationToken);
            }
            catch (HostCommandException refused)
            {
                report($"service rules: {refused.Message}");
            }
        }
    }
}
