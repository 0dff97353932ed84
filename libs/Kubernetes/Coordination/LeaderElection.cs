using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.Kubernetes;

/// <summary>Settings of a <see cref="LeaderElection"/>; the defaults are those of Kubernetes' own components.</summary>
public sealed record LeaderElectionOptions
{
    public required string Namespace { get; init; }
    public required string LeaseName { get; init; }
    /// <summary>Unique among the candidates, e.g. the pod's name.</summary>
    public required string Identity { get; init; }
    /// <summary>Silence of a leader after which others may take over; whole seconds, longer than <see cref="RenewDeadline"/>.</summary>
    public TimeSpan LeaseDuration { get; init; } = TimeSpan.FromSeconds(15);
    /// <summary>Time without a successful renewal after which a leader stops.</summary>
    public TimeSpan RenewDeadline { get; init; } = TimeSpan.FromSeconds(10);
    public TimeSpan RetryPeriod { get; init; } = TimeSpan.FromSeconds(2);
    public ILogger Log { get; init; } = NullLogger.Instance;
    /// <summary>A number from 0 to below 1, for jitter.</summary>
    public Func<double> Random { get; init; } = System.Random.Shared.NextDouble;

    /// <summary>Every problem, each naming its setting; empty when usable.</summary>
    public IEnumerable<string> Problems()
    {
        if (Identity.Length == 0) yield return "LeaderElection:Identity is empty.";
        if (LeaseDuration <= RenewDeadline) yield return $"LeaderElection:LeaseDuration ({LeaseDuration}) must be longer than RenewDeadline ({RenewDeadline}).";
        if (RenewDeadline <= RetryPeriod) yield return $"LeaderElection:RenewDeadline ({RenewDeadline}) must be longer than RetryPeriod ({RetryPeriod}).";
        if (LeaseDuration.Ticks % TimeSpan.TicksPerSecond != 0) yield return $"LeaderElection:LeaseDuration ({LeaseDuration}) must be whole seconds.";
    }
}

/// <summary>Lets one of several replicas do what only one may do, by holding a Lease.</summary>
/// <remarks>Clocks need not agree: a candidate measures the leader's silence by its own clock. A leader that cannot renew stops before others may begin.</remarks>
public sealed class LeaderElection
{
    private readonly LeaseHolding _lease;
    private readonly LeaderElectionOptions _options;
    private readonly TimeProvider _clock;
    private volatile bool _isLeader;

    /// <summary>Does nothing until <see cref="RunAsync"/>.</summary>
    /// <exception cref="ArgumentException">The options do not fit together.</exception>
    public LeaderElection(KubernetesClient client, LeaderElectionOptions options)
    {
        if (options.Problems().ToList() is { Count: > 0 } problems) throw new ArgumentException(string.Join(' ', problems), nameof(options));
        _options = options;
        _clock = client.Clock;
        _lease = new LeaseHolding(client.Of<Lease>(), options);
    }

    /// <summary>This replica leads now.</summary>
    public bool IsLeader => _isLeader;

    /// <summary>Runs <paramref name="whileLeading"/> whenever this replica leads, with a token that is cancelled when it no longer does; returns only by cancellation, after giving the lease back.</summary>
    /// <remarks>The work should end soon after its token is cancelled. Work that ends or fails by itself gives the lease back; the election goes on.</remarks>
    public async Task RunAsync(Func<CancellationToken, Task> whileLeading, CancellationToken cancellationToken)
    {
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            while (!await TryHoldAsync(cancellationToken)) await WaitAsync(cancellationToken);
            _options.Log.LogInformation("{Identity} leads by lease {Namespace}/{Lease}", _options.Identity, _options.Namespace, _options.LeaseName);
            await LeadAsync(whileLeading, cancellationToken);
            await WaitAsync(cancellationToken);
        }
    }

    private async Task LeadAsync(Func<CancellationToken, Task> whileLeading, CancellationToken cancellationToken)
    {
        using var leading = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        _isLeader = true;
        var work = Task.Run(() => whileLeading(leading.Token), CancellationToken.None);
        try
        {
            await RenewWhileAsync(work, leading.Token);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Falls through: the work is stopped and the lease given back before the cancellation is passed on.
        }
        _isLeader = false;
        await leading.CancelAsync();
        await ObserveAsync(work);
        await _lease.ReleaseAsync(CancellationToken.None);
        _options.Log.LogInformation("{Identity} no longer leads by lease {Namespace}/{Lease}", _options.Identity, _options.Namespace, _options.LeaseName);
        cancellationToken.ThrowIfCancellationRequested();
    }

    /// <summary>Returns when the lease could not be renewed in time or the work ended.</summary>
    private async Task RenewWhileAsync(Task work, CancellationToken cancellationToken)
    {
        var renewed = _clock.GetTimestamp();
        while (!work.IsCompleted)
        {
            await Task.WhenAny(work, WaitAsync(cancellationToken));
            cancellationToken.ThrowIfCancellationRequested();
            if (work.IsCompleted) return;
            var left = _options.RenewDeadline - _clock.GetElapsedTime(renewed);
            if (left <= TimeSpan.Zero || await TryRenewAsync(left, cancellationToken) is Renewal.Lost) return;
            if (_lease.RenewedAt is { } at) renewed = at;
        }
    }

    private async Task<Renewal> TryRenewAsync(TimeSpan left, CancellationToken cancellationToken)
    {
        using var deadline = new Deadline(left, _clock, cancellationToken);
        try
        {
            return await _lease.TryHoldAsync(deadline.Token) ? Renewal.Done : Renewal.Lost;
        }
        catch (KubernetesException e)
        {
            _options.Log.LogWarning("the lease {Namespace}/{Lease} could not be renewed: {Problem}", _options.Namespace, _options.LeaseName, e.Message);
            return Renewal.Failed;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return Renewal.Lost;
        }
    }

    private async Task<bool> TryHoldAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await _lease.TryHoldAsync(cancellationToken);
        }
        catch (Exception e) when (e is KubernetesException or KubernetesConfigurationException)
        {
            _options.Log.LogWarning("the lease {Namespace}/{Lease} could not be asked for: {Problem}", _options.Namespace, _options.LeaseName, e.Message);
            return false;
        }
        catch (OperationCanceledException)
        {
            await _lease.ReleaseAsync(CancellationToken.None);   // what was being written may have been written all the same
            throw;
        }
    }

    private async Task ObserveAsync(Task work)
    {
        try
        {
            await work;
        }
        catch (OperationCanceledException)
        {
            // asked for
        }
        catch (Exception e)
        {
            _options.Log.LogError(e, "the work of the leader failed; the lease is given back");
        }
    }

    private Task WaitAsync(CancellationToken cancellationToken) =>
        Task.Delay(_options.RetryPeriod * (1 + 0.2 * _options.Random()), _clock, cancellationToken);

    private enum Renewal
    {
        Done,
        Failed,
        Lost,
    }
}
