using AmbientMesh.Cni.Node.Enrollment;
using AmbientMesh.Cni.Node.Ztunnel;
using AmbientMesh.Kubernetes;
using AmbientMesh.Telemetry;
using AmbientMesh.Telemetry.Coverage;

namespace AmbientMesh.Cni.Node.Status;

/// <summary>Which pods of this node are protected, which are not and why, which are left out on purpose. Thread-safe.</summary>
internal sealed class NodeCoverageReport(
    string node, string backend, EnrollmentRules rules, Informer<Pod> pods, Informer<Namespace> namespaces, EnrolledPods enrolled, UnenrolledPods unenrolled,
    Func<int> ztunnels, Func<DateTimeOffset?> lastVerification, TimeProvider clock)
{
    public AgentCoverage Report() => new()
    {
        Node = node,
        Time = clock.GetUtcNow(),
        Redirection = backend,
        Ztunnels = ztunnels(),
        LastVerification = lastVerification(),
        Pods = [.. pods.Items.Select(StateOf).OfType<PodCoverage>().OrderBy(pod => pod.Pod, StringComparer.Ordinal)],
    };

    /// <summary>Registers <c>ambientmesh_coverage_pods</c> and <c>ambientmesh_coverage_gaps</c>.</summary>
    public void Register(MetricRegistry registry)
    {
        registry.GaugeFrom("ambientmesh_coverage_pods", "Pods of this node that belong to the mesh, by state.", ["state"], () =>
        {
            var states = pods.Items.Select(StateOf).OfType<PodCoverage>().CountBy(pod => pod.State).ToDictionary();
            return PodStates.All.Select(state => new ObservedSeries([state], states.GetValueOrDefault(state)));
        });
        registry.GaugeFrom("ambientmesh_coverage_gaps", "Pods of this node that should be protected and are not, by reason.", ["reason"], () =>
            pods.Items.Select(StateOf).OfType<PodCoverage>().Where(pod => pod.State == PodStates.Gap).CountBy(pod => pod.Reason!).Select(g => new ObservedSeries([g.Key], g.Value)));
    }

    /// <summary>Null for a pod that the mesh has nothing to do with.</summary>
    private PodCoverage? StateOf(Pod pod)
    {
        if (EnrollmentRules.HasEnded(pod) || namespaces.Get("", pod.Namespace) is not { } ns) return null;
        var uid = pod.Metadata.Uid ?? "";
        var name = $"{pod.Namespace}/{pod.Name}";
        if (rules.ExemptionOf(pod, ns.Metadata.Labels) is { } exemption) return new PodCoverage { Pod = name, Uid = uid, State = PodStates.Exempt, Reason = exemption.Word() };
        if (!rules.Decide(pod, ns.Metadata.Labels).ShouldBeEnrolled) return null;
        if (unenrolled.Find(uid) is { } trouble)
            return new PodCoverage { Pod = name, Uid = uid, State = PodStates.Gap, Reason = trouble.Gap.Word(), Message = trouble.Reason, Since = trouble.Since };
        var record = enrolled.Get(uid);
        if (record is { IsComplete: true })
            return enrolled.VerifiedAt(uid) is { } at
                ? new PodCoverage { Pod = name, Uid = uid, State = PodStates.Verified, VerifiedAt = at }
                : new PodCoverage { Pod = name, Uid = uid, State = PodStates.Enrolled };
        if (record is not null || PodStep.Addresses(pod).Count == 0 || pod.Status.Phase is "Pending") return new PodCoverage { Pod = name, Uid = uid, State = PodStates.Starting };
        return new PodCoverage { Pod = name, Uid = uid, State = PodStates.Gap, Reason = ProtectionGap.NotEnrolled.Word(), Message = "the agent has not come to it yet", Since = pod.Status.StartTime };
    }
}
