using System.Net;
using AmbientMesh.Cni.Node.Redirection;
using AmbientMesh.Kubernetes;
using AmbientMesh.Linux;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Cni.Node.Enrollment;

/// <summary>Looks at every pod of the node again and again: what should be enrolled is, in the kernel and at ztunnel, or it is repaired and told.</summary>
internal sealed class PeriodicVerification(
    Informer<Pod> pods, PodReconciler reconciler, PodNamespaceSearch search, IProbeExemptions probes, UnenrolledPods unenrolled,
    Action<string> countRepair, Action<Pod, string> tellRepair, TimeProvider clock, ILogger log)
{
    /// <summary>From the end of one round to the start of the next.</summary>
    public static readonly TimeSpan Interval = TimeSpan.FromSeconds(30);

    /// <summary>When the last round ended; null before the first.</summary>
    public DateTimeOffset? LastRound { get; private set; }

    /// <summary>Verifies until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                await Task.Delay(Interval, clock, cancellationToken);
                await RoundAsync(cancellationToken);
            }
        }
        catch (OperationCanceledException)
        {
            // The agent ends.
        }
    }

    /// <summary>One round over all pods.</summary>
    public async Task RoundAsync(CancellationToken cancellationToken)
    {
        try
        {
            unenrolled.KeepOnly(known => pods.Get(known.Key)?.Metadata.Uid == known.Uid);
            await RestoreProbeRulesAsync(cancellationToken);
            var exempt = await probes.ReadAsync(cancellationToken);
            var processes = search.Processes();
            foreach (var pod in pods.Items) await VerifyAsync(pod, processes, exempt, cancellationToken);
        }
        catch (IOException e)
        {
            log.LogError("the verification of the enrolled pods could not be finished: {Reason}", e.Message);
        }
        LastRound = clock.GetUtcNow();
    }

    private async Task VerifyAsync(Pod pod, IReadOnlyList<ProcessEntry> processes, IReadOnlyDictionary<IPAddress, string> exempt, CancellationToken cancellationToken)
    {
        try
        {
            var repaired = await reconciler.VerifyAsync(pod.Key, processes, exempt, cancellationToken);
            foreach (var fault in repaired) countRepair(fault);
            if (repaired.Count > 0) tellRepair(pod, $"The pod's enrolment was repaired: {string.Join(", ", repaired)}.");
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            log.LogError(e, "{Pod} could not be verified", pod.Key);   // the others are looked at all the same
        }
    }

    private async Task RestoreProbeRulesAsync(CancellationToken cancellationToken)
    {
        if (await probes.AreInstalledAsync(cancellationToken)) return;
        log.LogWarning("the node's probe rules were changed by somebody else and are written again");
        countRepair("node probe rules");
        await probes.InstallAsync(cancellationToken);
    }
}
