using AmbientMesh.ControlPlane.Collections;
using AmbientMesh.ControlPlane.Kubernetes;
using AmbientMesh.ControlPlane.Translation;
using AmbientMesh.ControlPlane.Translation.Waypoints;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Serving;

/// <summary>Feeds what is watched into the collections and tells when the first lists have all been applied.</summary>
public sealed class MeshFeed
{
    private readonly CollectionLoop _loop;
    private readonly ControlPlaneMetrics _metrics;
    private readonly Action _onAllApplied;
    private readonly List<Func<CancellationToken, Task>> _feeds = [];
    private int _outstanding;   // used on the loop only, once running

    /// <param name="watch">The informers.</param>
    /// <param name="mesh">What is fed.</param>
    /// <param name="loop">Its writer.</param>
    /// <param name="metrics">Counts updates.</param>
    /// <param name="onAllApplied">Called once, on the loop.</param>
    public MeshFeed(ClusterWatch watch, MeshCollections mesh, CollectionLoop loop, ControlPlaneMetrics metrics, Action onAllApplied)
    {
        (_loop, _metrics, _onAllApplied) = (loop, metrics, onAllApplied);
        Feed(watch.Namespaces, mesh.Namespaces);
        Feed(watch.Nodes, mesh.Nodes);
        Feed(watch.Services, mesh.Services);
        Feed(watch.EndpointSlices, mesh.EndpointSlices);
        Feed(watch.Pods, mesh.Pods);
        Feed(watch.AuthorizationPolicies, mesh.Policies.AuthorizationPolicies);
        Feed(watch.PeerAuthentications, mesh.Policies.PeerAuthentications);
        Feed(watch.ServiceEntries, mesh.Entries.ServiceEntries);
        Feed(watch.WorkloadEntries, mesh.Entries.WorkloadEntries);
        Feed(watch.Configuration, mesh.Entries.Configuration);
        Feed(watch.GatewayClasses, mesh.Waypoints.GatewayClasses);
        Feed(watch.Gateways, mesh.Waypoints.Gateways, LastAddress.Keep);
    }

    /// <summary>Runs until cancelled.</summary>
    public Task RunAsync(CancellationToken cancellationToken) => Task.WhenAll(_feeds.Select(feed => feed(cancellationToken)));

    private void Feed<T>(Informer<T> informer, SourceCollection<ObjectKey, T> source, Func<T?, T, T>? merge = null) where T : class
    {
        var resource = informer.Type.Plural;
        _outstanding++;
        _feeds.Add(token => InformerFeed.RunAsync(informer, source, _loop, _ => _metrics.Updated(resource), Applied, token, merge));
    }

    private void Applied()
    {
        if (--_outstanding == 0) _onAllApplied();
    }
}
