using System.Collections.Concurrent;
using AmbientMesh.Kubernetes;
using AmbientMesh.Telemetry.Coverage;

namespace AmbientMesh.Cni.Node.Enrollment;

/// <summary>A pod that should be enrolled and is not.</summary>
/// <param name="Gap">The reason in one word.</param>
/// <param name="Since">When it was first found so.</param>
public sealed record UnenrolledPod(string Uid, ObjectKey Key, ProtectionGap Gap, string Reason, DateTimeOffset Since);

/// <summary>The pods that should be enrolled and are not: shown in status and metric, told to their owners as Events. Never silent. Thread-safe.</summary>
/// <param name="tell">Writes an Event on the pod: pod, is a warning, reason in CamelCase, message.</param>
public sealed class UnenrolledPods(Action<Pod, bool, string, string> tell, TimeProvider clock)
{
    public const string FailedReason = "AmbientEnrollmentFailed";
    public const string EnrolledReason = "AmbientEnrolled";
    public const string LeavingFailedReason = "AmbientRemovalFailed";

    private readonly ConcurrentDictionary<string, UnenrolledPod> _pods = new();

    private readonly ConcurrentDictionary<string, string> _leaving = new();   // uid to what is in the way

    public IReadOnlyList<UnenrolledPod> All => [.. _pods.Values.OrderBy(pod => pod.Key)];

    public int Count => _pods.Count;

    /// <summary>What is wrong with a pod; null when nothing is known to be.</summary>
    public UnenrolledPod? Find(string uid) => _pods.GetValueOrDefault(uid);

    /// <summary>Whether the pod is known to be in trouble.</summary>
    public bool Has(Pod pod) => _pods.ContainsKey(pod.Metadata.Uid ?? "");

    /// <summary>Notes a failure; the owner is told when the reason is a new one.</summary>
    /// <returns>Whether it is.</returns>
    public bool Report(Pod pod, ProtectionGap gap, string reason)
    {
        var uid = pod.Metadata.Uid ?? "";
        var before = _pods.GetValueOrDefault(uid);
        _pods[uid] = new UnenrolledPod(uid, pod.Key, gap, reason, before?.Since ?? clock.GetUtcNow());
        if (before?.Reason == reason) return false;
        tell(pod, true, FailedReason, $"The pod should be in the mesh and is not: {reason}");
        return true;
    }

    /// <summary>A pod that is to leave the mesh could not be taken out; the owner is told when the reason is a new one. It is none that should be enrolled, and is not counted as such.</summary>
    /// <returns>Whether it is.</returns>
    public bool ReportLeaving(Pod pod, string reason)
    {
        var uid = pod.Metadata.Uid ?? "";
        _pods.TryRemove(uid, out _);
        if (_leaving.TryGetValue(uid, out var before) && before == reason) return false;
        _leaving[uid] = reason;
        tell(pod, true, LeavingFailedReason, $"The pod is to leave the mesh and has not yet: {reason}");
        return true;
    }

    /// <summary>The pod is enrolled now; its owner is told when it was not before.</summary>
    public void Enrolled(Pod pod)
    {
        _leaving.TryRemove(pod.Metadata.Uid ?? "", out _);
        if (_pods.TryRemove(pod.Metadata.Uid ?? "", out _)) tell(pod, false, EnrolledReason, "The pod's traffic is carried by the mesh.");
    }

    /// <summary>The pod is gone or no longer to be enrolled.</summary>
    public void Forget(string uid)
    {
        _pods.TryRemove(uid, out _);
        _leaving.TryRemove(uid, out _);
    }

    /// <summary>Forgets pods that no longer exist.</summary>
    public void KeepOnly(Func<UnenrolledPod, bool> exists)
    {
        foreach (var pod in _pods.Values.Where(pod => !exists(pod))) _pods.TryRemove(pod.Uid, out _);
    }
}
