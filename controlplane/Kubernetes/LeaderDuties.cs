using AmbientMesh.Kubernetes;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Kubernetes;

/// <summary>What only one replica may do: it runs on the replica that holds the lease <c>istio-leader</c>, all duties together.</summary>
/// <remarks>All replicas serve; only writing to Kubernetes is a duty. A duty that ends or fails is started again with the next term, which begins within seconds.</remarks>
public sealed class LeaderDuties
{
    /// <summary>Name of the lease, in the system namespace.</summary>
    public const string LeaseName = "istio-leader";

    private readonly LeaderElection _election;
    private readonly IReadOnlyList<Func<CancellationToken, Task>> _duties;

    /// <summary>Does nothing until <see cref="RunAsync"/>.</summary>
    /// <param name="identity">Unique among the replicas: the pod's name.</param>
    public LeaderDuties(KubernetesClient client, string systemNamespace, string identity, IReadOnlyList<Func<CancellationToken, Task>> duties, ILoggerFactory logs)
    {
        _duties = duties;
        _election = new LeaderElection(client, new LeaderElectionOptions
        {
            Namespace = systemNamespace,
            LeaseName = LeaseName,
            Identity = identity,
            Log = logs.CreateLogger("leader"),
        });
    }

    /// <summary>Stands for election until cancelled; gives the lease back at the end.</summary>
    public Task RunAsync(CancellationToken cancellationToken) => _election.RunAsync(LeadAsync, cancellationToken);

    private async Task LeadAsync(CancellationToken cancellationToken)
    {
        using var term = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var running = _duties.Select(duty => duty(term.Token)).ToList();
        if (running.Count == 0) return;
        await Task.WhenAny(running);
        await term.CancelAsync();
        await Task.WhenAll(running);
    }
}
