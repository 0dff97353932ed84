using System.Diagnostics.CodeAnalysis;
using AmbientMesh.Hbone;
using AmbientMesh.Identity;
using AmbientMesh.Model;
using AmbientMesh.Telemetry;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Certificates;

/// <summary>Asks the CA for one certificate.</summary>
/// <exception cref="SvidUnavailableException">It was refused or the CA cannot be reached.</exception>
public delegate Task<Svid> FetchSvid(SpiffeId identity, CancellationToken cancellationToken);

/// <summary>There is no valid certificate for an identity; the message says why.</summary>
public sealed class SvidUnavailableException(string message, Exception? inner = null) : IOException(message, inner);

/// <summary>The certificate of an identity as the configuration dump shows it.</summary>
/// <param name="Current">Null while there is none.</param>
/// <param name="Problem">Why there is none; null while the first answer is awaited or a certificate is there.</param>
public sealed record SvidState(SpiffeId Identity, Svid? Current, string? Problem);

/// <summary>Holds one certificate per identity: fetched once however many ask, at most 8 at a time, the most urgent first, renewed at half life,
/// kept until it expires when the CA is away, forgotten when nobody needs it (L4 reference §6.2). Thread-safe.</summary>
/// <remarks>Bounded: a full store gives up what no pod of the node has and nobody asked for lately, the longest unused first, and refuses when there is no such thing. What is in use
/// is never given up; what was refused is fetched as soon as there is room.</remarks>
public sealed class SvidStore : IAsyncDisposable
{
    /// <summary>Several times the identities of the largest node.</summary>
    public const int DefaultCapacity = 4096;

    /// <summary>An identity that was asked for within this time is in use.</summary>
    public static readonly TimeSpan InUse = TimeSpan.FromMinutes(1);

    /// <summary>An identity of no pod of the node that nobody asked for within this time is not renewed.</summary>
    public static readonly TimeSpan ForgetAfter = TimeSpan.FromHours(24);

    private const int MaxInFlight = 8;

    private readonly FetchSvid _fetch;
    private readonly TimeProvider _clock;
    private readonly ILogger _log;
    private readonly Random _random;
    private readonly Lock _gate = new();
    private readonly int _capacity;
    private readonly SvidRules _rules;
    private readonly Dictionary<SpiffeId, Entry> _entries = [];
    private readonly HashSet<SpiffeId> _ofPods = [];
    private long _refused;
    private bool _fullTold;
    private readonly CancellationTokenSource _stopping = new();
    private readonly ITimer _wake;
    private RevocationList _revoked;
    private int _inFlight;
    private TimeSpan _clockSkew;
    private bool _skewTold;

    /// <summary>An empty store; peers are judged against <paramref name="revoked"/> until a newer list is set.</summary>
    /// <param name="capacity">Identities held at a time, at most.</param>
    /// <param name="rules">How strictly peers' certificates are read; <see cref="SvidRules.Strict"/> when null.</param>
    public SvidStore(FetchSvid fetch, TimeProvider clock, ILogger log, Random? random = null, RevocationList? revoked = null, int capacity = DefaultCapacity, SvidRules? rules = null)
    {
        _capacity = capacity;
        _rules = rules ?? SvidRules.Strict;
        _revoked = revoked ?? RevocationList.None;
        (_fetch, _clock, _log, _random) = (fetch, clock, log, random ?? Random.Shared);
        _wake = clock.CreateTimer(_ => Dispatch(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    private sealed class Entry(SpiffeId id)
    {
        public SpiffeId Id { get; } = id;
        public Svid? Svid { get; set; }
        public TlsCredentials? Credentials { get; set; }
        public string? Problem { get; set; }
        public int Failures { get; set; }

        /// <summary>Certificates in a row that were past half of their life, or revoked, when they came.</summary>
        public int Stale { get; set; }
        public bool IsFetching { get; set; }

        /// <summary>The request under way may bring what is already out of date.</summary>
        public bool RenewAgain { get; set; }

        /// <summary>When the next request is due; null while one is under way.</summary>
        public DateTimeOffset? Due { get; set; }
        public SvidPriority Priority { get; set; }
        public DateTimeOffset AskedAt { get; set; }

        /// <summary>Callers that wait for the first answer.</summary>
        public int Waiting { get; set; }
        public TaskCompletionSource First { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    /// <summary>How far the CA's clock is ahead of ours, by the last certificate; negative when it is behind. A few seconds of it are the request itself.</summary>
    public TimeSpan ClockSkew
    {
        get { lock (_gate) return _clockSkew; }
    }

    /// <summary>Identities held now.</summary>
    public int Count
    {
        get { lock (_gate) return _entries.Count; }
    }

    /// <summary>How often an identity found no room.</summary>
    public long Refused => Interlocked.Read(ref _refused);

    /// <summary>Every identity held, sorted.</summary>
    public IReadOnlyList<SvidState> States
    {
        get
        {
            lock (_gate)
            {
                return [.. _entries.Values.OrderBy(e => e.Id.ToString(), StringComparer.Ordinal)
                    .Select(e => new SvidState(e.Id, IsValid(e) ? e.Svid : null, e.Problem ?? (e.Svid is not null && !IsValid(e) ? "certificate expired" : null)))];
            }
        }
    }

    /// <summary>The credentials of an identity, waiting for the first answer of the CA.</summary>
    /// <exception cref="SvidUnavailableException">The CA refused or is away and no valid certificate is left, told at once after the first failure; or the store is full of identities in use.</exception>
    public async ValueTask<TlsCredentials> GetAsync(SpiffeId identity, CancellationToken cancellationToken)
    {
        Entry entry;
        lock (_gate)
        {
            if (!_entries.TryGetValue(identity, out entry!)) entry = TryEnqueue(identity, SvidPriority.RealTime) ?? throw NoRoom(identity);
            else if (!entry.First.Task.IsCompleted && entry.Priority < SvidPriority.RealTime) entry.Priority = SvidPriority.RealTime;
            entry.AskedAt = _clock.GetUtcNow();
            if (TryRead(entry, out var ready)) return ready;
            entry.Waiting++;
        }
        Dispatch();
        try
        {
            await entry.First.Task.WaitAsync(cancellationToken);
        }
        finally
        {
            lock (_gate) entry.Waiting--;
        }
        lock (_gate)
        {
            return TryRead(entry, out var credentials) ? credentials
                : throw new SvidUnavailableException(entry.Problem ?? $"the certificate of {identity} was forgotten while it was waited for");
        }
    }

    /// <summary>Fetches ahead of need what a pod of the node has, and keeps it until <see cref="Forget"/>. Without room it is fetched when there is some.</summary>
    public void Warm(SpiffeId identity)
    {
        lock (_gate)
        {
            _ofPods.Add(identity);
            if (!_entries.ContainsKey(identity) && TryEnqueue(identity, SvidPriority.Warmup) is null) NoRoom(identity);
        }
        Dispatch();
    }

    /// <summary>Renews every certificate within the next seconds, spread so that the CA is not hit at once; what is held stays in use until then.</summary>
    /// <remarks>Nothing is put off by it: what is due sooner, or is waited for, comes as it would have.</remarks>
    public void RenewAll()
    {
        lock (_gate)
        {
            var now = _clock.GetUtcNow();
            foreach (var entry in _entries.Values) RenewBy(entry, now + (SvidSchedule.RenewalSpread * _random.NextDouble()));
        }
        Dispatch();
    }

    private static void RenewBy(Entry entry, DateTimeOffset time)
    {
        if (entry.IsFetching) entry.RenewAgain = true;
        else if (entry.Due is not { } due || due > time) entry.Due = time;
    }

    /// <summary>Drops an identity nobody on the node has any more; open tunnels keep what they began with.</summary>
    public void Forget(SpiffeId identity)
    {
        lock (_gate)
        {
            _ofPods.Remove(identity);
            if (_entries.Remove(identity, out var entry)) entry.First.TrySetResult();
            if (_fullTold) FillUp();
        }
        Dispatch();
    }

    /// <summary>Judges every later handshake against a newer list, and at once asks for others in place of own certificates that it names: peers refuse those.</summary>
    public void Revoke(RevocationList revoked)
    {
        lock (_gate)
        {
            _revoked = revoked;
            var now = _clock.GetUtcNow();
            foreach (var entry in _entries.Values)
            {
                if (entry.Svid is not { } svid) continue;
                entry.Credentials = CredentialsOf(svid);
                if (IsRevoked(svid)) RenewBy(entry, now);
            }
        }
        Dispatch();
    }

    /// <summary>Whether the newest list names one of these certificates.</summary>
    public bool IsRevoked(IReadOnlyList<CertificateSerial> path)
    {
        lock (_gate) return _revoked.Revokes(path);
    }

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        await _wake.DisposeAsync();
        lock (_gate)
        {
            foreach (var entry in _entries.Values)
            {
                entry.Problem ??= "the proxy is stopping";
                entry.First.TrySetResult();
            }
        }
    }

    private TlsCredentials CredentialsOf(Svid svid) => new(svid, new SvidVerifier(svid.Roots, _rules, _clock, _revoked));

    private Entry? TryEnqueue(SpiffeId identity, SvidPriority priority)
    {
        var now = _clock.GetUtcNow();
        if (_entries.Count >= _capacity && !TryMakeRoom(now)) return null;
        var entry = new Entry(identity) { Due = now, Priority = priority, AskedAt = now };
        _entries[identity] = entry;
        return entry;
    }

    /// <summary>Gives up the longest unused of what is not in use.</summary>
    private bool TryMakeRoom(DateTimeOffset now)
    {
        var unused = _entries.Values.Where(e => !IsNeeded(e) && now - e.AskedAt >= InUse).MinBy(e => e.AskedAt);
        return unused is not null && _entries.Remove(unused.Id);
    }

    private bool IsNeeded(Entry entry) => entry.Waiting > 0 || _ofPods.Contains(entry.Id);

    // What the pods of the node have and found no room for, as far as there is room now.
    private void FillUp()
    {
        foreach (var identity in _ofPods.Where(id => !_entries.ContainsKey(id)))
            if (TryEnqueue(identity, SvidPriority.Warmup) is null) return;
        _fullTold = false;
        _log.Write(LogLevel.Information, $"there is room again for every identity of this node's pods: the certificate store holds {_entries.Count} of {_capacity}");
    }

    private SvidUnavailableException NoRoom(SpiffeId identity)
    {
        _refused++;
        var problem = $"the certificate store is full: {_capacity} identities are in use on this node, and there is no room for {identity}";
        if (!_fullTold) _log.Write(LogLevel.Error, $"{problem}; it gets a certificate as soon as another identity is no longer in use");
        _fullTold = true;
        return new SvidUnavailableException(problem);
    }

    /// <summary>Starts what is due, as far as places are free, and sets the alarm for the next.</summary>
    private void Dispatch()
    {
        lock (_gate)
        {
            if (_stopping.IsCancellationRequested) return;
            var now = _clock.GetUtcNow();
            while (_inFlight < MaxInFlight && NextDue(now) is { } entry)
            {
                if (!IsNeeded(entry) && now - entry.AskedAt > ForgetAfter)
                {
                    _entries.Remove(entry.Id);
                    continue;
                }
                entry.IsFetching = true;
                entry.Due = null;
                _inFlight++;
                _ = Task.Run(() => FetchAsync(entry), CancellationToken.None);
            }
            if (_inFlight >= MaxInFlight) return;   // the end of a request looks again
            var next = _entries.Values.Min(e => e.Due);
            _wake.Change(next is { } due ? (due > now ? due - now : TimeSpan.Zero) : Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        }
    }

    private Entry? NextDue(DateTimeOffset now)
    {
        Entry? best = null;
        foreach (var entry in _entries.Values)
        {
            if (entry.Due is not { } due || due > now) continue;
            if (best is null || entry.Priority > best.Priority || (entry.Priority == best.Priority && due < best.Due)) best = entry;
        }
        return best;
    }

    private async Task FetchAsync(Entry entry)
    {
        try
        {
            var svid = await _fetch(entry.Id, _stopping.Token);
            lock (_gate) Succeeded(entry, svid);
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            return;
        }
        catch (Exception e)   // whatever it was, it takes down one identity's request and is tried again
        {
            lock (_gate) Failed(entry, e.Message);
        }
        finally
        {
            lock (_gate)
            {
                entry.IsFetching = false;
                _inFlight--;
            }
        }
        entry.First.TrySetResult();
        Dispatch();
    }

    private void Succeeded(Entry entry, Svid svid)
    {
        entry.Svid = svid;
        entry.Credentials = CredentialsOf(svid);
        entry.Problem = null;
        entry.Failures = 0;
        var now = _clock.GetUtcNow();
        JudgeClock(svid, now);
        // Certificates that come half-expired (a clock that is wrong, a CA that is about to expire), or from an issuer that is revoked, are asked for again ever more seldom.
        var isRevoked = IsRevoked(svid);
        entry.Stale = svid.RenewAt > now && !isRevoked ? 0 : entry.Stale + 1;
        var again = entry.RenewAgain ? now + (SvidSchedule.RenewalSpread * _random.NextDouble()) : isRevoked ? now : svid.RenewAt;
        entry.RenewAgain = false;
        var soonest = now + SvidSchedule.WaitAfterStale(entry.Stale, svid.NotAfter - now);
        Schedule(entry, again > soonest ? again : soonest);
    }

    // A fresh certificate begins a fixed time before the CA's now: whatever else it shows is the difference between the clocks.
    private void JudgeClock(Svid svid, DateTimeOffset now)
    {
        _clockSkew = svid.NotBefore + SvidSchedule.BackDating - now;
        var isWrong = _clockSkew.Duration() > SvidSchedule.BackDating / 2;
        if (isWrong && !_skewTold)
            _log.Write(LogLevel.Error, $"the clock of this node and that of the CA differ by about {_clockSkew.Duration().TotalSeconds:0} s: this node's says {now:u}, the CA's {now + _clockSkew:u}. "
                + "Peers may refuse each other's certificates until the clocks agree; check the time synchronisation (NTP) of this node and of the control plane's.");
        else if (!isWrong && _skewTold) _log.Write(LogLevel.Information, "the clocks of this node and of the CA agree again");
        _skewTold = isWrong;
    }

    private void Failed(Entry entry, string problem)
    {
        var now = _clock.GetUtcNow();
        var wait = SvidSchedule.RetryAfter(++entry.Failures, _random.NextDouble());
        var valid = IsValid(entry);
        if (!valid) entry.Problem = problem;
        Schedule(entry, SvidSchedule.RetryAt(now, wait, valid ? entry.Svid!.NotAfter : null));
        _log.Write(LogLevel.Warning, valid
            ? $"certificate fetch failed ({problem}); the existing certificate is kept until {entry.Svid!.NotAfter:u}; will retry in {wait.TotalSeconds:0.###}s (backoff capped at 150s)"
            : $"certificate fetch failed ({problem}) and no valid existing certificate; will retry in {wait.TotalSeconds:0.###}s (backoff capped at 150s)",
            new KeyValuePair<string, object?>("id", entry.Id));
    }

    private void Schedule(Entry entry, DateTimeOffset at)
    {
        if (!_entries.TryGetValue(entry.Id, out var held) || held != entry) return;   // forgotten meanwhile
        entry.Due = at;
        entry.Priority = SvidPriority.Background;
    }

    private bool IsRevoked(Svid svid) => _revoked.Revokes([CertificateSerial.Of(svid.Leaf), .. svid.Intermediates.Select(CertificateSerial.Of)]);

    private bool IsValid(Entry entry) => entry.Svid is { } svid && svid.NotAfter > _clock.GetUtcNow();

    private bool TryRead(Entry entry, [NotNullWhen(true)] out TlsCredentials? credentials)
    {
        credentials = IsValid(entry) ? entry.Credentials : null;
        if (credentials is not null) return true;
        if (entry.Svid is not null && entry.Problem is null) entry.Problem = $"the certificate of {entry.Id} expired at {entry.Svid.NotAfter:u} and could not be renewed (the clock here says {_clock.GetUtcNow():u})";
        if (entry.First.Task.IsCompleted && entry.Problem is { } problem) throw new SvidUnavailableException(problem);
        return false;
    }
}
