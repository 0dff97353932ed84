using AmbientMesh.Cni.Node.Redirection;
using AmbientMesh.Kubernetes;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Cni.Node.Enrollment;

/// <summary>Puts pods into the queue when they or their namespaces change. Source: reference 9.2.</summary>
internal sealed class PodWatch(Informer<Pod> pods, Informer<Namespace> namespaces, EnrollmentQueue queue, Action<string> count, Action<KubernetesObject, string> complain, ILogger log)
{
    private readonly InformerIndex<string, Pod> _byNamespace = pods.AddIndex<string>(pod => [pod.Namespace]);

    /// <summary>Runs until the informers end.</summary>
    public Task RunAsync() => Task.WhenAll(FollowPodsAsync(), FollowNamespacesAsync());

    private async Task FollowPodsAsync()
    {
        await foreach (var change in pods.Subscribe().ReadAllAsync())
        {
            if (change.Kind == ChangeKind.Synced) continue;
            count(change.Kind switch { ChangeKind.Added => "add", ChangeKind.Modified => "update", _ => "delete" });
            if (change.After is { } pod && NewlyUnknown($"pod {pod.Key}", change.Before?.Metadata.Labels, pod.Metadata.Labels) is { } problem)
                complain(pod, problem);
            queue.Enqueue(change.Key);
        }
    }

    private async Task FollowNamespacesAsync()
    {
        await foreach (var change in namespaces.Subscribe().ReadAllAsync())
        {
            if (change is not { After: { } ns }) continue;
            if (change.Before is { } before && SameLabels(before.Metadata.Labels, ns.Metadata.Labels) && CapturesDns(before) == CapturesDns(ns)) continue;
            if (NewlyUnknown($"namespace {ns.Name}", change.Before?.Metadata.Labels, ns.Metadata.Labels) is { } problem) complain(ns, problem);
            log.LogDebug("labels or annotations of namespace {Namespace} changed", ns.Name);
            foreach (var pod in _byNamespace[ns.Name]) queue.Enqueue(pod.Key);
        }
    }

    private static string? NewlyUnknown(string what, IReadOnlyDictionary<string, string>? before, IReadOnlyDictionary<string, string> after) =>
        EnrollmentRules.UnknownMode(what, after) is { } problem && problem != (before is null ? null : EnrollmentRules.UnknownMode(what, before)) ? problem : null;

    private static bool? CapturesDns(Namespace ns) => PodRedirectOptions.DnsCaptureOf(ns.Metadata.Annotations, ns.Metadata.Labels);

    private static bool SameLabels(IReadOnlyDictionary<string, string> one, IReadOnlyDictionary<string, string> other) =>
        one.Count == other.Count && one.All(label => other.TryGetValue(label.Key, out var value) && value == label.Value);
}
