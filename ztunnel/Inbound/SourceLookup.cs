using System.Net;
using AmbientMesh.Model;
using AmbientMesh.Ztunnel.InPod;

namespace AmbientMesh.Ztunnel.Inbound;

/// <summary>Finds the workload a connection comes from. For labels alone: nothing is decided by it, so nothing waits for it longer than a moment. Thread-safe.</summary>
/// <remarks>With XDS_ON_DEMAND an unknown source is asked for, as a destination is (L4 reference §4.5); a client can make that happen, so only so many at once.</remarks>
public sealed class SourceLookup
{
    /// <summary>Sources asked for at once, over all pods of the node; others stay unknown.</summary>
    public const int MaxAsking = 64;

    /// <summary>Time for the answer. Without one the connection goes on all the same.</summary>
    public static readonly TimeSpan Limit = TimeSpan.FromSeconds(1);

    private int _asking;

    /// <summary>The workload of an address on the proxy's own network; null when none is known in time.</summary>
    /// <param name="services">Whose mesh is looked at.</param>
    public async ValueTask<Workload?> FindAsync(ProxyServices services, IPAddress source, CancellationToken cancellationToken)
    {
        var name = new NetworkAddress(services.Settings.Network, source);
        var known = services.Mesh.Current.FindWorkload(name);
        if (known is not null || services.Demand is not { } demand) return known;
        try
        {
            if (Interlocked.Increment(ref _asking) > MaxAsking) return null;
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            using var timer = services.Clock.CreateTimer(static source => ((CancellationTokenSource)source!).Cancel(), limit, Limit, Timeout.InfiniteTimeSpan);
            await demand(name.ToString(), limit.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            // Discovery is away; the connection need not be.
        }
        finally
        {
            Interlocked.Decrement(ref _asking);
        }
        return services.Mesh.Current.FindWorkload(name);
    }
}
