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

    /// <summary>It runs and is no longer to be in the mesh: everything is taken back.</summary>
    public sealed record TakeOut(string Reason) : PodStep;

    /// <summary>It has ended: ztunnel and the probe sets forget it, its namespace goes by itself.</summary>
    public sealed record Forget : PodStep;

    /// <summary>Decides from the live pod and from what the agent has done about it.</summary>
    /// <remarks>Pure. The agent's own record counts before the annotation, since the cache may be a moment behind the agent's last patch.</remarks>
    /// <param name="wanted">What its rules are to be made of; null when its annotations ask for the impossible.</param>
    public static PodStep Decide(Pod pod, EnrollmentDecision decision, EnrolledPod? record, PodRedirectOptions? wanted)
    {
        var annotated = EnrollmentRules.Annotated(pod);
        var touched = record is not null || annotated is EnrollmentRules.Enabled or EnrollmentRules.Pending;
        if (EnrollmentRules.HasEnded(pod)) return touched ? new Forget() : new Nothing();
        if (!decision.ShouldBeEnrolled) return touched ? new TakeOut(decision.Reason) : new Nothing();
        if (Addresses(pod) is not { Count: > 0 } addresses) return new AwaitAddress();
        if (record is not { IsComplete: true }) return new Enrol();
        if (!addresses.ToHashSet().SetEquals(record.Addresses)) return new RefreshAddresses();
        // Where it is not known how the rules were made, the verification looks at them.
        return record.Redirect is null || record.Redirect.Key == wanted?.Key ? new Nothing() : new RefreshRules();
    }

    /// <summary>The pod's addresses; empty when it has none yet.</summary>
    public static IReadOnlyList<IPAddress> Addresses(Pod pod)
    {
        var texts = pod.Status.PodIPs.Count > 0 ? pod.Status.PodIPs.Select(ip => ip.Ip) : pod.Status.PodIP is { } single ? [single] : [];
        return [.. texts.Select(text => IPAddress.TryParse(text, out var address) ? address : null).OfType<IPAddress>()];
    }
}
