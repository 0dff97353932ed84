using System.Text.RegularExpressions;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation;

/// <summary>What a pod is called in telemetry: the controller that owns it, and the canonical service it is part of.</summary>
internal static partial class WorkloadName
{
    private const string TemplateHashLabel = "pod-template-hash";

    /// <summary>The owning controller's name, seen through to what the user wrote: the Deployment of a ReplicaSet, the CronJob of a Job; else the pod's own.</summary>
    public static string Of(Pod pod)
    {
        if (Given(pod.Metadata.Labels) is { } given) return given;
        if (pod.Metadata.Controller() is not { Name.Length: > 0 } owner) return pod.Name;
        return owner.Kind switch
        {
            "ReplicaSet" => DeploymentOf(owner.Name, pod.Metadata.Labels.GetValueOrDefault(TemplateHashLabel, "")),
            "Job" => ScheduledJob().Match(owner.Name) is { Success: true } job ? job.Groups[1].Value : owner.Name,
            _ => owner.Name,
        };
    }

    /// <summary>The label service.istio.io/workload-name; null without it.</summary>
    public static string? Given(IReadOnlyDictionary<string, string> labels) => FirstOf(labels, "service.istio.io/workload-name");

    /// <summary>Labels service.istio.io/canonical-name, app.kubernetes.io/name, app, else <paramref name="workloadName"/> (reference 4.8).</summary>
    public static string Canonical(IReadOnlyDictionary<string, string> labels, string workloadName) =>
        FirstOf(labels, "service.istio.io/canonical-name", "app.kubernetes.io/name", "app") ?? workloadName;

    /// <summary>Labels service.istio.io/canonical-revision, app.kubernetes.io/version, version, else <c>latest</c> (reference 4.8).</summary>
    public static string CanonicalRevision(IReadOnlyDictionary<string, string> labels) =>
        FirstOf(labels, "service.istio.io/canonical-revision", "app.kubernetes.io/version", "version") ?? "latest";

    // A Deployment names its ReplicaSets <deployment>-<pod-template-hash>; a ReplicaSet of its own has no such label on its pods.
    private static string DeploymentOf(string replicaSet, string templateHash) =>
        templateHash.Length > 0 && replicaSet.EndsWith("-" + templateHash, StringComparison.Ordinal) ? replicaSet[..^(templateHash.Length + 1)] : replicaSet;

    private static string? FirstOf(IReadOnlyDictionary<string, string> labels, params ReadOnlySpan<string> names)
    {
        foreach (var name in names)
            if (labels.TryGetValue(name, out var value) && value.Length > 0) return value;
        return null;
    }

    /// <summary>A CronJob names its Jobs <c>name-minutes since 1970</c>.</summary>
    [GeneratedRegex(@"^(.+)-\d{8,10}$", RegexOptions.NonBacktracking)]
    private static partial Regex ScheduledJob();
}
