using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Controllers;

/// <summary>Everything a controller manager and a scheduler run.</summary>
internal static class ClusterControllers
{
    /// <summary>Starts them; the tasks end with <paramref name="cancellationToken"/>.</summary>
    /// <param name="report">Gets a line for each thing that went wrong and is not shown on an object.</param>
    public static IEnumerable<Task> Run(ClusterStore store, Action<string> report, CancellationToken cancellationToken) =>
    [
        new Scheduler(store, report).RunAsync(cancellationToken),
        new DeploymentController(store, report).RunAsync(cancellationToken),
        new ReplicaSetController(store, report).RunAsync(cancellationToken),
        new DaemonSetController(store, report).RunAsync(cancellationToken),
        new StatefulSetController(store, report).RunAsync(cancellationToken),
        new JobController(store, report).RunAsync(cancellationToken),
        new EndpointSliceController(store, report).RunAsync(cancellationToken),
        new NodeLifecycleController(store, report).RunAsync(cancellationToken),
    ];
}
