using System.Net;

namespace AmbientMesh.Benchmarks.L4;

/// <summary>One way from the client pod to the server pod: the bare wire, or a pair of proxies.</summary>
internal abstract class WayAcross(string name, NodePair nodes) : IAsyncDisposable
{
    public string Name => name;
    public NodePair Nodes => nodes;

    /// <summary>The proxies, none for the bare wire; their processor time and memory are what is counted.</summary>
    public virtual IReadOnlyList<HostedProcess> Proxies => [];

    /// <summary>Where the client connects.</summary>
    public virtual IPEndPoint Destination => new(nodes.ServerAddress, LoadServer.Port);

    /// <summary>Bytes the proxies allocated on managed heaps since they started; null when they have none or do not say.</summary>
    public virtual Task<long?> AllocatedBytesAsync(CancellationToken cancellationToken) => Task.FromResult<long?>(null);

    /// <summary>Returns when traffic passes.</summary>
    public virtual Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public virtual ValueTask DisposeAsync()
    {
        nodes.Dispose();
        return ValueTask.CompletedTask;
    }
}

/// <summary>No proxy at all: what the machine can do.</summary>
internal sealed class DirectWay(NodePair nodes) : WayAcross("direct", nodes);
