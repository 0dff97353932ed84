using System.Net;
using AmbientMesh.Cni.Node.Redirection;
using AmbientMesh.Cni.Node.Ztunnel;
using AmbientMesh.Kubernetes;
using AmbientMesh.Linux;
using AmbientMesh.Telemetry.Coverage;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Cni.Node.Enrollment;

/// <summary>Brings one pod to where it should be: gathers, decides by <see cref="PodStep"/>, acts. Thread-safe; one operation per pod at a time.</summary>
internal sealed class PodReconciler(
    EnrollmentRules rules, Informer<Pod> podCache, Informer<Namespace> namespaces, EnrolledPods pods, PodEnroller enroller,
    PodRedirection redirection, IProbeExemptions probes, ZdsServer ztunnels, PodNamespaceSearch search, UnenrolledPods unenrolled, LeaveTimes leaveTimes, TimeProvider clock, ILogger log)
{
    private readonly SemaphoreSlim[] _locks = [.. Enumerable.Range(0, 64).Select(_ => new SemaphoreSlim(1))];

    /// <summary>Asks for a look at a pod after a while.</summary>
    public Action<ObjectKey, TimeSpan> LookAgain { get; set; } = (_, _) => { };

    /// <summary>Looks at the live pod and does what is due.</summary>
    /// <returns>False when it is worth trying again soon.</returns>
    public async Task<bool> ReconcileAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        using var alone = await AloneAsync(key, cancellationToken);
        var pod = podCache.Get(key);
        var isLeaving = pod is null;
        try
        {
            await ForgetEarlierAsync(key, pod?.Metadata.Uid, cancellationToken);
            if (pod is null) return true;
            if (namespaces.Get("", key.Namespace) is not { } ns) return false;
            var decision = rules.Decide(pod, ns.Metadata.Labels);
            isLeaving = !decision.ShouldBeEnrolled;
            await ActAsync(pod, decision, cancellationToken);
            return true;
        }
        catch (EnrollmentException e)
        {
            if (isLeaving) ComplainOfLeaving(key, pod, e.Message);
            else Complain(key, pod, e.Gap, e.Message);
            return !e.CanRetry;
        }
    }

    /// <summary>Enrols a pod that is being started, by the plugin's call.</summary>
    /// <param name="inside">Taken over.</param>
    /// <exception cref="EnrollmentException">It cannot be; its start must fail.</exception>
    public async Task EnrolStartingAsync(Pod pod, NetworkNamespace inside, IReadOnlyList<IPAddress> addresses, CancellationToken cancellationToken)
    {
        using var alone = await AloneAsync(pod.Key, cancellationToken);
        try
        {
            await enroller.EnrolAsync(pod, inside, addresses, cancellationToken, isStarting: true);
            unenrolled.Enrolled(pod);
        }
        catch (Exception e)
        {
            // The runtime takes this sandbox down and tries with another one.
            await enroller.WithdrawAsync(pod.Metadata.Uid ?? "", inside, CancellationToken.None);
            if (e is EnrollmentException { Gap: var gap }) Complain(pod.Key, pod, gap, e.Message);
            throw;
        }
    }

    /// <summary>Looks at an enrolled pod as if for the first time and repairs what differs.</summary>
    /// <returns>What was repaired; empty when nothing was.</returns>
    public async Task<IReadOnlyList<string>> VerifyAsync(ObjectKey key, IReadOnlyList<ProcessEntry> processes, IReadOnlyDictionary<IPAddress, string> exempt, CancellationToken cancellationToken)
    {
        using var alone = await AloneAsync(key, cancellationToken);
        if (podCache.Get(key) is not { } pod || namespaces.Get("", key.Namespace) is not { } ns) return [];
        if (!rules.Decide(pod, ns.Metadata.Labels).ShouldBeEnrolled || EnrollmentRules.HasEnded(pod) || PodStep.Addresses(pod) is not { Count: > 0 } addresses) return [];
        try
        {
            var faults = await FaultsAsync(pod, addresses, processes, exempt, cancellationToken);
            if (faults.Count > 0)
            {
                log.Log(unenrolled.Has(pod) ? LogLevel.Debug : LogLevel.Warning, "{Pod} is not enrolled as it should be: {Faults}", key, string.Join(", ", faults));
                await EnrolFoundAsync(pod, addresses, processes, cancellationToken);
            }
            unenrolled.Enrolled(pod);
            if (faults.Count == 0) pods.MarkVerified(pod.Metadata.Uid ?? "");
            return faults;
        }
        catch (Exception e) when (e is EnrollmentException or IOException)
        {
            Complain(key, pod, (e as EnrollmentException)?.Gap ?? ProtectionGap.RulesNotWritten, e.Message);
            return [];
        }
    }

    private async Task ActAsync(Pod pod, EnrollmentDecision decision, CancellationToken cancellationToken)
    {
        var uid = pod.Metadata.Uid ?? "";
        var record = pods.Get(uid);
        switch (PodStep.Decide(pod, decision, record, record is { IsComplete: true } ? enroller.OptionsOrNull(pod, record.Addresses) : null, leaveTimes, clock.GetUtcNow()))
        {
            case PodStep.RefreshRules when record?.Namespace is { } inside:
                await enroller.RefreshRulesAsync(pod, record, inside, cancellationToken);
                unenrolled.Enrolled(pod);
                break;
            case PodStep.Enrol:
                await EnrolFoundAsync(pod, PodStep.Addresses(pod), search.Processes(), cancellationToken);
                unenrolled.Enrolled(pod);
                break;
            case PodStep.RefreshAddresses:
                await enroller.RefreshAddressesAsync(record!, PodStep.Addresses(pod), cancellationToken);
                break;
            case PodStep.AnnounceLeaving leaving:
                await enroller.AnnotateAsync(pod, EnrollmentRules.Pending, cancellationToken);
                log.LogInformation("{Pod} is leaving the mesh: {Reason}", pod.Key, leaving.Reason);
                Enter(LeavePhase.Announced, record!, leaveTimes.Grace);
                break;
            case PodStep.Release:
                await enroller.ReleaseAsync(pod, record!, cancellationToken);
                Enter(LeavePhase.Released, record!, leaveTimes.Drain);
                break;
            case PodStep.AwaitLeaving leaving:
                LookAgain(pod.Key, leaving.Remaining);
                break;
            case PodStep.TakeOut takeOut:
                await TakeOutAsync(pod, record, takeOut.Reason, cancellationToken);
                unenrolled.Forget(uid);
                break;
            case PodStep.Forget:
                await enroller.ForgetAsync(uid, pod.Key, EnrollmentRules.Annotated(pod) is null ? null : pod, cancellationToken);
                unenrolled.Forget(uid);
                break;
            case PodStep.Nothing when !decision.ShouldBeEnrolled:
                unenrolled.Forget(uid);
                break;
        }
    }

    private void Enter(LeavePhase phase, EnrolledPod record, TimeSpan lasts)
    {
        pods.Put(record with { Leaving = phase, LeavingSince = clock.GetUtcNow() });
        LookAgain(record.Key, lasts);
    }

    private async Task EnrolFoundAsync(Pod pod, IReadOnlyList<IPAddress> addresses, IReadOnlyList<ProcessEntry> processes, CancellationToken cancellationToken)
    {
        var inside = search.Find(pod.Metadata.Uid ?? "", addresses, processes)
            ?? throw new EnrollmentException("its network namespace was not found among the node's processes", canRetry: true, ProtectionGap.NamespaceNotFound);
        try
        {
            await enroller.EnrolAsync(pod, inside, addresses, cancellationToken);
        }
        catch
        {
            if (pods.Get(pod.Metadata.Uid ?? "")?.Namespace != inside) inside.Dispose();
            throw;
        }
    }

    private async Task TakeOutAsync(Pod pod, EnrolledPod? record, string reason, CancellationToken cancellationToken)
    {
        var found = search.Find(pod.Metadata.Uid ?? "", PodStep.Addresses(pod), search.Processes());
        using (found) await enroller.TakeOutAsync(pod, found ?? record?.Namespace, reason, cancellationToken);
    }

    // A pod that was deleted, or whose name another pod has now.
    private async Task ForgetEarlierAsync(ObjectKey key, string? presentUid, CancellationToken cancellationToken)
    {
        foreach (var earlier in pods.Of(key).Where(pod => pod.Uid != presentUid))
        {
            await enroller.ForgetAsync(earlier.Uid, key, null, cancellationToken);
            unenrolled.Forget(earlier.Uid);
        }
    }

    private async Task<List<string>> FaultsAsync(Pod pod, IReadOnlyList<IPAddress> addresses, IReadOnlyList<ProcessEntry> processes, IReadOnlyDictionary<IPAddress, string> exempt, CancellationToken cancellationToken)
    {
        var uid = pod.Metadata.Uid ?? "";
        if (pods.Get(uid) is not { Namespace: { } inside } record) return ["not enrolled"];
        var faults = new List<string>();
        using (var found = search.Find(uid, addresses, processes))
            if (found is not null && found.Id != inside.Id) faults.Add("another network namespace");
        if (await redirection.InspectAsync(inside, enroller.Options(pod, addresses), cancellationToken) is not RedirectionState.Intact and var state)
            faults.Add($"redirect rules {state.ToString().ToLowerInvariant()}");
        if (!ztunnels.Serves(uid)) faults.Add("not acknowledged by ztunnel");
        if (addresses.Any(address => IsExemptible(address) && exempt.GetValueOrDefault(address) != uid)) faults.Add("probes not exempt");
        if (EnrollmentRules.Annotated(pod) != EnrollmentRules.Enabled && !(record.IsComplete && await enroller.IsAnnotatedAsync(pod, cancellationToken))) faults.Add("not annotated");
        if (!record.IsComplete && faults.Count == 0) faults.Add("enrolment incomplete");
        return faults;

        bool IsExemptible(IPAddress address) => probes.Covers(address);
    }

    // Said once and then only when the reason is another one; the status shows it all the time.
    private void Complain(ObjectKey key, Pod? pod, ProtectionGap gap, string reason)
    {
        var isNews = pod is null || unenrolled.Report(pod, gap, reason);
        log.Log(isNews ? LogLevel.Error : LogLevel.Debug, "{Pod}: {Reason}", key, reason);
    }

    private void ComplainOfLeaving(ObjectKey key, Pod? pod, string reason)
    {
        var isNews = pod is null || unenrolled.ReportLeaving(pod, reason);
        log.Log(isNews ? LogLevel.Error : LogLevel.Debug, "{Pod} could not be taken out of the mesh yet: {Reason}", key, reason);
    }

    private async Task<Releasing> AloneAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        var gate = _locks[(uint)key.GetHashCode() % _locks.Length];
        await gate.WaitAsync(cancellationToken);
        return new Releasing(gate);
    }

    private readonly struct Releasing(SemaphoreSlim gate) : IDisposable
    {
        public void Dispose() => gate.Release();
    }
}
