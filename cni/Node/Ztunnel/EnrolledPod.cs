using System.Collections.Concurrent;
using System.Net;
using AmbientMesh.Cni.Node.Redirection;
using AmbientMesh.Kubernetes;
using AmbientMesh.Linux;

namespace AmbientMesh.Cni.Node.Ztunnel;

/// <summary>A pod whose traffic ztunnel is to carry.</summary>
/// <param name="Namespace">Its network namespace; null when it was not found yet. Owned by <see cref="EnrolledPods"/>.</param>
public sealed record EnrolledPod(string Uid, ObjectKey Key, string ServiceAccount, IReadOnlyList<IPAddress> Addresses, NetworkNamespace? Namespace)
{
    /// <summary>Every step of the enrolment is done: rules, ztunnel's yes, probe exemption, annotation.</summary>
    public bool IsComplete { get; init; }

    /// <summary>What its rules were made of; null when another agent made them.</summary>
    public PodRedirectOptions? Redirect { get; init; }

    /// <summary>How far it has left the mesh.</summary>
    public LeavePhase Leaving { get; init; }

    /// <summary>When that phase began.</summary>
    public DateTimeOffset LeavingSince { get; init; }

    public override string ToString() => $"{Key} ({Uid})";
}

/// <summary>How a pod leaves the mesh without losing a connection: peers stop tunnelling to it, then nothing new is captured, then ztunnel lets go.</summary>
public enum LeavePhase
{
    /// <summary>It stays.</summary>
    No,

    /// <summary>Its annotation says that it is not to be reached by tunnels; it is captured and served all the same, until every peer knows.</summary>
    Announced,

    /// <summary>Nothing new is captured; what ztunnel carries may end.</summary>
    Released,
}

/// <summary>The pods of this node that are enrolled; what a connecting ztunnel is told. Thread-safe.</summary>
public sealed class EnrolledPods(TimeProvider? clock = null)
{
    private readonly ConcurrentDictionary<string, EnrolledPod> _byUid = new();
    private readonly ConcurrentDictionary<string, DateTimeOffset> _verified = new();

    /// <summary>All of them now, in no order.</summary>
    public IReadOnlyList<EnrolledPod> All => [.. _byUid.Values];

    public EnrolledPod? Get(string uid) => _byUid.GetValueOrDefault(uid);

    /// <summary>Earlier and present pods of a namespace and name (a StatefulSet gives the same name again).</summary>
    public IReadOnlyList<EnrolledPod> Of(ObjectKey key) => [.. _byUid.Values.Where(pod => pod.Key == key)];

    /// <summary>Takes the pod over, its namespace handle included; one it replaces is closed.</summary>
    public void Put(EnrolledPod pod)
    {
        _byUid.TryGetValue(pod.Uid, out var before);
        _byUid[pod.Uid] = pod;
        if (!pod.IsComplete) _verified.TryRemove(pod.Uid, out _);
        if (before?.Namespace is { } old && old != pod.Namespace) old.Dispose();
    }

    /// <summary>The pod was found as it should be, in the kernel and at ztunnel, now.</summary>
    public void MarkVerified(string uid) => _verified[uid] = (clock ?? TimeProvider.System).GetUtcNow();

    /// <summary>When it was last found as it should be; null when it was not since its enrolment.</summary>
    public DateTimeOffset? VerifiedAt(string uid) => _verified.TryGetValue(uid, out var at) ? at : null;

    /// <summary>Forgets the pod and closes its namespace handle.</summary>
    public void Remove(string uid)
    {
        _verified.TryRemove(uid, out _);
        if (_byUid.TryRemove(uid, out var pod)) pod.Namespace?.Dispose();
    }
}
