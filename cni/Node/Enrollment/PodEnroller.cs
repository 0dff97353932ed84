using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using AmbientMesh.Cni.Node.Redirection;
using AmbientMesh.Cni.Node.Ztunnel;
using AmbientMesh.Kubernetes;
using AmbientMesh.Linux;
using AmbientMesh.Telemetry.Coverage;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Cni.Node.Enrollment;

/// <summary>Settings of the enrolment that hold where a pod says nothing itself.</summary>
/// <param name="CapturesDns">Whether lookups are captured by default.</param>
/// <param name="NamespaceCapturesDns">What a pod's namespace says about it; null when it says nothing.</param>
internal sealed record EnrollmentDefaults(bool CapturesDns, Func<string, bool?> NamespaceCapturesDns)
{
    public bool CapturesDnsIn(string ns) => NamespaceCapturesDns(ns) ?? CapturesDns;
}

/// <summary>Carries enrolment out: rules, probe exemption, ztunnel, annotation, in the order that fails closed. Source: reference 9.4.</summary>
/// <remarks>One operation per pod at a time; the caller sees to it. A pod whose ztunnel does not answer is closed, not open.</remarks>
internal sealed class PodEnroller(
    PodRedirection redirection, RedirectSettings settings, IProbeExemptions probes, ZdsServer ztunnels, EnrolledPods pods,
    ResourceClient<Pod> api, EnrollmentDefaults defaults, ILogger log)
{
    /// <summary>What the pod's annotations ask of the redirect rules.</summary>
    /// <exception cref="EnrollmentException">They ask for the impossible, or the node's settings leave a family of the pod's addresses open.</exception>
    public PodRedirectOptions Options(Pod pod, IReadOnlyList<IPAddress> addresses)
    {
        if (!PodRedirectOptions.TryRead(pod.Metadata.Annotations, defaults.CapturesDnsIn(pod.Namespace), out var options, out var problem))
            throw new EnrollmentException(problem, canRetry: false, ProtectionGap.BadAnnotation);
        if (!settings.RedirectsIpv6 && addresses.FirstOrDefault(a => a.AddressFamily == AddressFamily.InterNetworkV6) is { } open)
            throw new EnrollmentException($"it has the IPv6 address {open} and AMBIENT_IPV6 is false, so that its IPv6 traffic would be open", canRetry: false, ProtectionGap.Ipv6NotRedirected);
        return options;
    }

    /// <summary>As <see cref="Options"/>; null when they ask for the impossible.</summary>
    public PodRedirectOptions? OptionsOrNull(Pod pod, IReadOnlyList<IPAddress> addresses)
    {
        try
        {
            return Options(pod, addresses);
        }
        catch (EnrollmentException)
        {
            return null;
        }
    }

    /// <summary>Enrols the pod in <paramref name="inside"/>, which is taken over.</summary>
    /// <remarks>A starting pod is redirected first, so that nothing of it can leave before ztunnel has it. A running pod spoke plainly until now: its ztunnel
    /// listens first, so that no connection is refused between the two; when ztunnel does not answer the pod is redirected, and so closed, all the same.
    /// Probes are exempted before a starting pod waits for its ztunnel: it is not to be restarted by its liveness probe.</remarks>
    /// <param name="isStarting">The namespace was just made for the pod.</param>
    /// <exception cref="EnrollmentException">A step failed; the steps before it stay, so the pod is closed rather than open.</exception>
    public async Task EnrolAsync(Pod pod, NetworkNamespace inside, IReadOnlyList<IPAddress> addresses, CancellationToken cancellationToken, bool isStarting = false)
    {
        var record = new EnrolledPod(pod.Metadata.Uid ?? "", pod.Key, pod.Spec.ServiceAccountName ?? "default", addresses, inside);
        var isKnown = pods.Get(record.Uid) is not null;
        record = record with { Redirect = Options(pod, addresses) };   // asks for nothing impossible
        // A pod known already is being repaired: its rules may be gone.
        var listens = false;
        if (!isStarting && !isKnown)
        {
            pods.Put(record);   // before ztunnel has it: one that connects meanwhile must find it in its snapshot, and whatever fails from here on, ztunnel is told when the pod goes
            listens = await HandOverAsync(record, cancellationToken) is null;
        }
        await RedirectAsync(pod, inside, addresses, cancellationToken, isStarting);
        pods.Put(record);
        await StepAsync("exempting its probes", ProtectionGap.ProbesNotExempt, () => probes.AddAsync(record.Uid, addresses, cancellationToken));
        if (isKnown) await StepAsync("dropping its former addresses", ProtectionGap.ProbesNotExempt, () => probes.RemoveAsync(record.Uid, [.. addresses], cancellationToken));
        if (!listens && await HandOverAsync(record, cancellationToken) is { } refusal)
        {
            await AnnotateAsync(pod, EnrollmentRules.Pending, cancellationToken);
            throw new EnrollmentException($"ztunnel does not carry it yet: {refusal.Message}", canRetry: true, ztunnels.Connected == 0 ? ProtectionGap.NoZtunnel : ProtectionGap.NotAcknowledged, refusal);
        }
        await AnnotateAsync(pod, EnrollmentRules.Enabled, cancellationToken);
        pods.Put(record with { IsComplete = true });
        log.LogInformation("{Pod} is enrolled ({Backend})", pod.Key, redirection.BackendName);
    }

    /// <summary>Takes back what the start of a pod left, when that start failed: the sandbox goes, with the rules inside it.</summary>
    public async Task WithdrawAsync(string uid, NetworkNamespace inside, CancellationToken cancellationToken)
    {
        if (pods.Get(uid) is { } failed && failed.Namespace == inside) pods.Remove(uid);
        inside.Dispose();
        try
        {
            await probes.RemoveAsync(uid, [], cancellationToken);
        }
        catch (IOException e)
        {
            log.LogWarning("the probe exemption of a pod that did not start stays for now: {Reason}", e.Message);
        }
    }

    /// <summary>Captures nothing new of a pod that is leaving; what ztunnel carries already goes on.</summary>
    /// <exception cref="EnrollmentException">The kernel refused; repeat.</exception>
    public async Task ReleaseAsync(Pod pod, EnrolledPod record, CancellationToken cancellationToken)
    {
        if (record.Namespace is not { } inside) return;
        // What its annotations ask for now may be impossible; that must not keep it captured.
        var options = record.Redirect ?? OptionsOrNull(pod, record.Addresses) ?? new PodRedirectOptions(CapturesDns: false, BypassesInbound: false, []);
        await StepAsync("releasing its traffic", ProtectionGap.RulesNotWritten, () => redirection.ApplyAsync(inside, options with { IsReleased = true }, cancellationToken));
    }

    /// <summary>Takes a running pod out of the mesh. The annotation stays until everything else is done.</summary>
    /// <param name="inside">Its namespace; null when it was not found. The caller keeps it.</param>
    /// <exception cref="EnrollmentException">A step failed; repeat.</exception>
    public async Task TakeOutAsync(Pod pod, NetworkNamespace? inside, string reason, CancellationToken cancellationToken)
    {
        var uid = pod.Metadata.Uid ?? "";
        await StepAsync("ending its probe exemption", ProtectionGap.ProbesNotExempt, () => probes.RemoveAsync(uid, [], cancellationToken));
        if (inside is not null) await StepAsync("deleting its redirect rules", ProtectionGap.RulesNotWritten, () => redirection.DeleteAsync(inside, cancellationToken));
        await StepAsync("telling ztunnel", ProtectionGap.NotAcknowledged, () => ztunnels.DeleteAsync(uid, cancellationToken));
        await AnnotateAsync(pod, null, cancellationToken);
        pods.Remove(uid);
        log.LogInformation("{Pod} is taken out of the mesh: {Reason}", pod.Key, reason);
    }

    /// <summary>Forgets a pod that has ended.</summary>
    /// <param name="annotated">The pod object, when it still exists and carries our annotation.</param>
    /// <exception cref="EnrollmentException">A step failed; repeat.</exception>
    public async Task ForgetAsync(string uid, ObjectKey key, Pod? annotated, CancellationToken cancellationToken)
    {
        await StepAsync("ending its probe exemption", ProtectionGap.ProbesNotExempt, () => probes.RemoveAsync(uid, [], cancellationToken));
        await StepAsync("telling ztunnel", ProtectionGap.NotAcknowledged, () => ztunnels.DeleteAsync(uid, cancellationToken));
        pods.Remove(uid);
        log.LogInformation("{Pod} has ended and is forgotten", key);
        if (annotated is null) return;
        try
        {
            await AnnotateAsync(annotated, null, cancellationToken);
        }
        catch (EnrollmentException e)
        {
            log.LogDebug("the annotation of the ended {Pod} stays: {Reason}", key, e.Message);
        }
    }

    /// <summary>Puts the rules in place that changed annotations ask for; ztunnel's listeners and open connections stay.</summary>
    /// <exception cref="EnrollmentException">The kernel refused, or the annotations ask for the impossible.</exception>
    public async Task RefreshRulesAsync(Pod pod, EnrolledPod record, NetworkNamespace inside, CancellationToken cancellationToken)
    {
        await RedirectAsync(pod, inside, record.Addresses, cancellationToken);
        pods.Put(record with { Redirect = Options(pod, record.Addresses) });
        log.LogInformation("{Pod} is redirected as its annotations ask now", pod.Key);
    }

    /// <summary>Exempts changed addresses.</summary>
    /// <exception cref="EnrollmentException">The sets cannot be written.</exception>
    public async Task RefreshAddressesAsync(EnrolledPod record, IReadOnlyList<IPAddress> addresses, CancellationToken cancellationToken)
    {
        await StepAsync("exempting its probes", ProtectionGap.ProbesNotExempt, () => probes.AddAsync(record.Uid, addresses, cancellationToken));
        await StepAsync("dropping its former addresses", ProtectionGap.ProbesNotExempt, () => probes.RemoveAsync(record.Uid, [.. addresses], cancellationToken));
        pods.Put(record with { Addresses = addresses });
    }

    /// <summary>Writes or (null) removes our annotation through the status subresource.</summary>
    /// <exception cref="EnrollmentException">The API server refused or cannot be reached. A pod that is gone is no failure.</exception>
    public async Task AnnotateAsync(Pod pod, string? value, CancellationToken cancellationToken)
    {
        var metadata = new JsonObject { ["annotations"] = new JsonObject { [EnrollmentRules.RedirectionAnnotation] = value } };
        if (pod.Metadata.Uid is { } uid) metadata["uid"] = uid;   // not a later pod of the same name
        try
        {
            await api.PatchAsync(pod.Namespace, pod.Name, Patch.Merge(new JsonObject { ["metadata"] = metadata }), null, cancellationToken, "status");
        }
        catch (KubernetesException e) when (e.IsNotFound || e.IsConflict)
        {
            log.LogDebug("{Pod} is gone; nothing to annotate", pod.Key);
        }
        catch (Exception e) when (e is KubernetesException or KubernetesConfigurationException)
        {
            throw new EnrollmentException($"writing its annotation failed: {e.Message}", canRetry: true, ProtectionGap.AnnotationNotWritten, e);
        }
    }

    /// <summary>Whether the pod itself, and not a cache that may be behind our own last patch, says that it is enrolled. A pod that is gone misses nothing; when the API server
    /// cannot be asked, it does not say so.</summary>
    public async Task<bool> IsAnnotatedAsync(Pod pod, CancellationToken cancellationToken)
    {
        try
        {
            return await api.GetAsync(pod.Namespace, pod.Name, cancellationToken) is not { } live || live.Metadata.Uid != pod.Metadata.Uid || EnrollmentRules.Annotated(live) == EnrollmentRules.Enabled;
        }
        catch (Exception e) when (e is KubernetesException or KubernetesConfigurationException)
        {
            log.LogDebug("{Pod} cannot be asked for its annotation: {Reason}", pod.Key, e.Message);
            return false;
        }
    }

    /// <summary>Puts the redirect rules in place and nothing else.</summary>
    /// <exception cref="EnrollmentException">The kernel refused, or the annotations ask for the impossible.</exception>
    public async Task RedirectAsync(Pod pod, NetworkNamespace inside, IReadOnlyList<IPAddress> addresses, CancellationToken cancellationToken, bool isStarting = false)
    {
        var options = Options(pod, addresses);
        try
        {
            await redirection.ApplyAsync(inside, options, cancellationToken, isStarting);
        }
        catch (IOException e)
        {
            throw new EnrollmentException($"its redirect rules cannot be written: {e.Message}", canRetry: false, ProtectionGap.RulesNotWritten, e);
        }
    }

    /// <returns>Why ztunnel did not take the pod; null when it did.</returns>
    private async Task<ZdsException?> HandOverAsync(EnrolledPod record, CancellationToken cancellationToken)
    {
        try
        {
            await ztunnels.AddAsync(record, cancellationToken);
            return null;
        }
        catch (ZdsException refusal)
        {
            return refusal;
        }
    }

    private static async Task StepAsync(string step, ProtectionGap gap, Func<Task> work)
    {
        try
        {
            await work();
        }
        catch (IOException e)
        {
            throw new EnrollmentException($"{step} failed: {e.Message}", canRetry: true, gap, e);
        }
    }
}
