using AmbientMesh.Kubernetes;
using AmbientMesh.Telemetry.Coverage;

namespace AmbientMesh.Cni.Node.Enrollment;

/// <summary>Whether a pod belongs into the mesh, and why or why not.</summary>
public readonly record struct EnrollmentDecision(bool ShouldBeEnrolled, string Reason);

/// <summary>Which pods the agent enrols. Source: reference 9.1.</summary>
internal sealed record EnrollmentRules(IReadOnlyList<EnrollmentSelector> Selectors, IReadOnlySet<string> ExcludedNamespaces, string SystemNamespace)
{
    public const string RedirectionAnnotation = "ambient.istio.io/redirection";
    public const string Enabled = "enabled";
    public const string Pending = "pending";

    private const string SidecarAnnotation = "sidecar.istio.io/status";

    /// <summary>Decides by labels, annotations and namespace; whether the pod has ended is another question (<see cref="HasEnded"/>).</summary>
    /// <remarks>Pure. The order of the arms is the precedence.</remarks>
    public EnrollmentDecision Decide(Pod pod, IReadOnlyDictionary<string, string> namespaceLabels)
    {
        if (ExcludedNamespaces.Contains(pod.Namespace)) return new(false, $"namespace {pod.Namespace} is excluded");
        if (pod.Spec.HostNetwork == true) return new(false, "it uses the node's network");
        if (pod.Metadata.Annotations.ContainsKey(SidecarAnnotation)) return new(false, "it has a sidecar");
        if (IsZtunnel(pod)) return new(false, "it is a ztunnel");
        return EnrollmentSelector.Any(Selectors, pod.Metadata.Labels, namespaceLabels)
            ? new(true, "a selector matches its labels and those of its namespace")
            : new(false, "no selector matches its labels and those of its namespace");
    }

    /// <summary>Why a pod that a selector, or its namespace's label, would have in the mesh is left out on purpose; null when it is not one of those.</summary>
    public Exemption? ExemptionOf(Pod pod, IReadOnlyDictionary<string, string> namespaceLabels)
    {
        if (!EnrollmentSelector.Any(Selectors, pod.Metadata.Labels, namespaceLabels))
            return pod.Metadata.Labels.GetValueOrDefault(EnrollmentSelector.ModeLabel) == "none" && namespaceLabels.GetValueOrDefault(EnrollmentSelector.ModeLabel) == "ambient" ? Exemption.OptedOut : null;
        if (ExcludedNamespaces.Contains(pod.Namespace)) return Exemption.ExcludedNamespace;
        if (pod.Spec.HostNetwork == true) return Exemption.HostNetwork;
        if (pod.Metadata.Annotations.ContainsKey(SidecarAnnotation)) return Exemption.Sidecar;
        return IsZtunnel(pod) ? Exemption.Ztunnel : null;
    }

    /// <summary>Text about a mode label with a value nobody knows; null when there is none.</summary>
    public static string? UnknownMode(string what, IReadOnlyDictionary<string, string> labels) =>
        labels.TryGetValue(EnrollmentSelector.ModeLabel, out var mode) && mode is not ("ambient" or "none")
            ? $"{what} has label {EnrollmentSelector.ModeLabel}={mode}; expected ambient or none. The label itself enrols nothing."
            : null;

    /// <summary>Its containers have ended for good.</summary>
    public static bool HasEnded(Pod pod) => pod.Status.Phase is "Succeeded" or "Failed";

    /// <summary>What the agent wrote on the pod: enabled, pending, or null.</summary>
    public static string? Annotated(Pod pod) => pod.Metadata.Annotations.GetValueOrDefault(RedirectionAnnotation);

    public bool IsZtunnel(Pod pod) => pod.Namespace == SystemNamespace && pod.Metadata.Labels.GetValueOrDefault("app") == "ztunnel";
}
