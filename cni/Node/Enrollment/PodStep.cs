using System.Net;
using AmbientMesh.Cni.Node.Redirection;
using AmbientMesh.Cni.Node.Ztunnel;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.Cni.Node.Enrollment;

/// <summary>What is to be done about a pod now. Exactly one case holds.</summary>
internal abstract record PodStep
{
    private PodStep()
    {
    }

    /// <summary>All is as it should be.</summary>
    public sealed record Nothing : PodStep;

    /// <summary>The pod has no address yet; its next update brings one.</summary>
    public sealed record AwaitAddress : PodStep;

    /// <summary>Redirect its traffic, hand it to ztunnel, say so on it.</summary>
    public sealed record Enrol : PodStep;

    /// <summary>It is enrolled and its annotations, or its namespace's, ask for other rules now.</summary>
    public sealed record RefreshRules : PodStep;

    /// <summary>It is enrolled and its addresses changed: exempt the new ones from the probe redirect.</summary>
    public sealed record RefreshAddresses : PodStep;

    /// <summary>It is no longer to be in the mesh: say so to its peers first.</summary>
    public sealed record AnnounceLeaving(string Reason) : PodStep;

    /// <summary>Its peers know: capture nothing new.</summary>
    public sealed record Release : PodStep;

    /// <summary>It is leaving; look again after <paramref name="Remaining"/>.</summary>
    public sealed record AwaitLeaving(TimeSpan Remaining) : PodStep;

    /// <summary>It runs and is no longer to be in the mesh: everything is taken back.</summary>
    public sealed record TakeOut(string Reason) : PodStep;

    /// <summary>It has ended: ztunnel and the probe sets forget it, its namespace goes by itself.</summary>
    public sealed record Forget : PodStep;

    /// <summary>Decides from the live pod and from what the agent has done about it.</summary>
    /// <remarks>Pure. The agent's own record counts before the annotation, since the cache may be a moment behind the agent's last patch.</remarks>
    /// <param name="wanted">What its rules are to be made of; null when its annotations ask for the impossible.</param>
    /// <param name="times">How long a pod takes to leave; without it is taken out at once.</param>
    public static PodStep Decide(Pod pod, EnrollmentDecision decision, EnrolledPod? record, PodRedirectOptions? wanted, LeaveTimes times = default, DateTimeOffset now = default)
    {
        var annotated = EnrollmentRules.Annotated(pod);
        var touched = record is not null || annotated is EnrollmentRules.Enabled or EnrollmentRules.Pending;
        if (EnrollmentRules.HasEnded(pod)) return touched ? new Forget() : new Nothing();
        if (!decision.ShouldBeEnrolled) return touched ? Leave(record, decision.Reason, times, now) : new Nothing();
        if (Addresses(pod) is not { Count: > 0 } addresses) return new AwaitAddress();
        if (record is not { IsComplete: true, Leaving: LeavePhase.No }) return new Enrol();
        if (!addresses.ToHashSet().SetEquals(record.Addresses)) return new RefreshAddresses();
        // Where it is not known how the rules were made, the verification looks at them.
        return record.Redirect is null || record.Redirect.Key == wanted?.Key ? new Nothing() : new RefreshRules();
    }

    private static PodStep Leave(EnrolledPod? record, string reason, LeaveTimes times, DateTimeOffset now) => record switch
    {
        { IsComplete: true, Leaving: LeavePhase.No } when times.Grace + times.Drain > TimeSpan.Zero => new AnnounceLeaving(reason),
        { Leaving: LeavePhase.Announced } when record.LeavingSince + times.Grace is var end && now < end => new AwaitLeaving(end - now),
        { Leaving: LeavePhase.Announced } => new Release(),
        { Leaving: LeavePhase.Released } when record.LeavingSince + times.Drain is var end && now < end => new AwaitLeaving(end - now),
        _ => new TakeOut(reason),
    };

    /// <summary>The pod's addresses; empty when it has none yet.</summary>
    public static IReadOnlyList<IPAddress> Addresses(Pod pod)
    {
        var texts = pod.Status.PodIPs.Count > 0 ? pod.Status.PodIPs.Select(ip => ip.Ip) : pod.Status.PodIP is { } single ? [single] : [];
        return [.. texts.Select(text => IPAddress.TryParse(text, out var address) ? address : null).OfType<IPAddress>()];
    }
}

/// <summary>How long a pod takes to leave the mesh.</summary>
/// <param name="Grace">From the announcement until nothing new is captured: time for the control plane to tell every peer.</param>
/// <param name="Drain">From then until ztunnel lets go: time for what it carries to end.</param>
internal readonly record struct LeaveTimes(TimeSpan Grace, TimeSpan Drain);
