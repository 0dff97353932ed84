using Microsoft.Extensions.Logging;

namespace AmbientMesh.Kubernetes;

/// <summary>One candidate's dealings with the Lease: take it when free or silent, renew it when held, give it back.</summary>
/// <remarks>Not thread-safe.</remarks>
internal sealed class LeaseHolding(ResourceClient<Lease> leases, LeaderElectionOptions options)
{
    private readonly TimeProvider _clock = leases.Clock;
    private string _seenVersion = "";
    private long _seenAt;

    /// <summary>Timestamp of the last successful write, taken before it was sent; null when the lease is not held.</summary>
    public long? RenewedAt { get; private set; }

    /// <summary>Takes or renews the lease.</summary>
    /// <returns>False when another holds it or was quicker.</returns>
    /// <exception cref="KubernetesException">The API server could not be asked.</exception>
    public async Task<bool> TryHoldAsync(CancellationToken cancellationToken)
    {
        var lease = await leases.GetAsync(options.Namespace, options.LeaseName, cancellationToken);
        Observe(lease);
        if (lease is not null && !IsOurs(lease) && !IsFree(lease))
        {
            RenewedAt = null;
            return false;
        }
        var at = _clock.GetTimestamp();
        try
        {
            var written = lease is null
                ? await leases.CreateAsync(Next(null), null, cancellationToken)
                : await leases.ReplaceAsync(Next(lease), null, cancellationToken);
            Observe(written);
            RenewedAt = at;
            return true;
        }
        catch (KubernetesException e) when (e.IsConflict || e.AlreadyExists)
        {
            // Another write came first. If it was ours (an answer got lost), the next attempt finds it so.
            return RenewedAt is not null;
        }
    }

    /// <summary>Lets the next candidate begin at once; failing to do so only costs time.</summary>
    public async Task ReleaseAsync(CancellationToken cancellationToken)
    {
        RenewedAt = null;
        using var deadline = new Deadline(options.RetryPeriod, _clock, cancellationToken);
        try
        {
            if (await leases.GetAsync(options.Namespace, options.LeaseName, deadline.Token) is { } lease && IsOurs(lease))
                await leases.ReplaceAsync(lease with { Spec = lease.Spec with { HolderIdentity = "", LeaseDurationSeconds = 1, RenewTime = _clock.GetUtcNow() } }, null, deadline.Token);
        }
        catch (Exception e) when (e is KubernetesException or OperationCanceledException)
        {
            options.Log.LogWarning("the lease {Namespace}/{Lease} could not be given back: {Problem}", options.Namespace, options.LeaseName, e.Message);
        }
    }

    private void Observe(Lease? lease)
    {
        var version = lease?.Metadata.ResourceVersion ?? "";
        if (version == _seenVersion) return;
        _seenVersion = version;
        _seenAt = _clock.GetTimestamp();
    }

    private bool IsOurs(Lease lease) => lease.Spec.HolderIdentity == options.Identity;

    private bool IsFree(Lease lease) =>
        string.IsNullOrEmpty(lease.Spec.HolderIdentity)
        || _clock.GetElapsedTime(_seenAt) >= TimeSpan.FromSeconds(lease.Spec.LeaseDurationSeconds ?? (int)options.LeaseDuration.TotalSeconds);

    private Lease Next(Lease? current)
    {
        var now = _clock.GetUtcNow();
        var before = current?.Spec ?? new LeaseSpec();
        var changes = current is not null && !IsOurs(current);
        var spec = before with
        {
            HolderIdentity = options.Identity,
            LeaseDurationSeconds = (int)options.LeaseDuration.TotalSeconds,
            RenewTime = now,
            AcquireTime = current is null || changes || before.AcquireTime is null ? now : before.AcquireTime,
            LeaseTransitions = (before.LeaseTransitions ?? 0) + (changes ? 1 : 0),
        };
        return current is null
            ? new Lease { Metadata = new ObjectMeta { Namespace = options.Namespace, Name = options.LeaseName }, Spec = spec }
            : current with { Spec = spec };
    }
}
