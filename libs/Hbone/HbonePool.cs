using System.Net;
using AmbientMesh.Hbone.Hpack;
using AmbientMesh.Model;

namespace AmbientMesh.Hbone;

/// <summary>Limits for pooled tunnels (L4 contracts §3.5).</summary>
public sealed record HbonePoolOptions
{
    /// <summary>Streams one tunnel carries before another is opened; at least 1 (POOL_MAX_STREAMS_PER_CONNECTION).</summary>
    public int MaxStreamsPerTunnel { get; init; } = 100;
    /// <summary>Time an unused tunnel is kept (POOL_UNUSED_RELEASE_TIMEOUT).</summary>
    public TimeSpan UnusedRelease { get; init; } = TimeSpan.FromMinutes(5);
    /// <summary>Time an unused tunnel is kept while the pool drains.</summary>
    public TimeSpan DrainRelease { get; init; } = TimeSpan.FromSeconds(1);
    /// <summary>Other tunnels tried when a peer did not process a stream.</summary>
    public int Attempts { get; init; } = 4;

    /// <summary>Every problem, each naming its setting; empty when usable.</summary>
    public IEnumerable<string> Problems()
    {
        if (MaxStreamsPerTunnel < 1) yield return $"MaxStreamsPerTunnel is {MaxStreamsPerTunnel}; expected at least 1.";
        if (UnusedRelease <= TimeSpan.Zero) yield return $"UnusedRelease is {UnusedRelease}; expected a positive time.";
        if (Attempts < 1) yield return $"Attempts is {Attempts}; expected at least 1.";
    }
}

/// <summary>What tunnels may be shared for: same source identity and address, same acceptable peers, same address dialled.</summary>
public sealed record HbonePoolKey
{
    /// <param name="peer">Who is meant at that address, e.g. a workload's uid: when another gets the address, tunnels to the former are not used for it.</param>
    public HbonePoolKey(SpiffeId source, IEnumerable<SpiffeId> destinations, IPEndPoint endPoint, IPAddress sourceAddress, string peer = "")
    {
        Peer = peer;
        Source = source;
        Destinations = destinations is IReadOnlyList<SpiffeId> { Count: 1 } one ? one : [.. destinations.Distinct().OrderBy(d => d.ToString(), StringComparer.Ordinal)];
        EndPoint = endPoint;
        SourceAddress = sourceAddress;
    }

    public SpiffeId Source { get; }
    /// <summary>Acceptable peer identities, sorted, without duplicates.</summary>
    public IReadOnlyList<SpiffeId> Destinations { get; }
    public IPEndPoint EndPoint { get; }
    public IPAddress SourceAddress { get; }
    public string Peer { get; }

    public bool Equals(HbonePoolKey? other) =>
        other is not null && Source == other.Source && EndPoint.Equals(other.EndPoint) && SourceAddress.Equals(other.SourceAddress) && Peer == other.Peer
        && Destinations.SequenceEqual(other.Destinations);

    public override int GetHashCode() => HashCode.Combine(Source, EndPoint, SourceAddress, Destinations.Count);
}

/// <summary>Opens one tunnel: TCP, TLS, HTTP/2. See <see cref="TunnelDialer"/> for the usual one.</summary>
/// <exception cref="IOException">It could not be opened; the message is what logs show.</exception>
public delegate Task<HboneClientConnection> DialTunnel(HbonePoolKey key, CancellationToken cancellationToken);

/// <summary>Tunnels of one pod, shared by its connections: one creator per key at a time, others wait for it; a tunnel whose peer allows fewer
/// streams gets a sibling instead of stalling. Safe for use from several threads.</summary>
/// <param name="isUnwanted">Whether a peer must not be spoken to by what is known now; asked of each tunnel that was dialled, since <see cref="DropAsync"/> sees only those
/// that are there. Null when nobody is unwanted.</param>
public sealed class HbonePool(DialTunnel dial, HbonePoolOptions options, TimeProvider? clock = null, Predicate<TlsPeer>? isUnwanted = null) : IAsyncDisposable
{
    private readonly TimeProvider _clock = clock ?? TimeProvider.System;
    private readonly Lock _gate = new();
    private readonly Dictionary<HbonePoolKey, Entry> _entries = [];
    private readonly CancellationTokenSource _closed = new();
    private bool _draining;
    private bool _disposed;

    private sealed class Entry(HbonePoolKey key)
    {
        public HbonePoolKey Key => key;
        public List<Pooled> Tunnels { get; } = [];
        public Task<Pooled>? Creation { get; set; }
    }

    private sealed class Pooled(HboneClientConnection tunnel)
    {
        public HboneClientConnection Tunnel => tunnel;
        public ITimer? Release { get; set; }
    }

    /// <summary>Tunnels held now.</summary>
    public int Count
    {
        get { lock (_gate) return _entries.Values.Sum(e => e.Tunnels.Count); }
    }

    /// <summary>Opens a stream through a pooled tunnel, dialling one when none has room.</summary>
    /// <exception cref="IOException">No tunnel could be opened.</exception>
    public async Task<ConnectOutcome> ConnectAsync(
        HbonePoolKey key, HboneAuthority authority, IReadOnlyList<HeaderField> headers, CancellationToken cancellationToken = default)
    {
        ConnectOutcome outcome = new ConnectOutcome.NotProcessed("the pool is closed", BeforeSending: true);
        for (var refusals = 0; refusals < options.Attempts;)
        {
            var (pooled, wait, refusal) = Choose(key);
            if (pooled is null)
            {
                if (wait is null) return refusal ?? outcome;
                await wait.WaitAsync(cancellationToken);
                continue;
            }
            outcome = await pooled.Tunnel.ConnectAsync(authority, headers, cancellationToken);
            if (outcome is not ConnectOutcome.NotProcessed notProcessed) return outcome;
            if (!notProcessed.BeforeSending) refusals++;   // losing the last place to another caller is no refusal
        }
        return outcome;
    }

    /// <summary>Closes everything now; open streams are reset (CANCEL). For a pod that is gone.</summary>
    public async ValueTask DisposeAsync()
    {
        List<Pooled> all;
        lock (_gate)
        {
            if (_disposed) return;
            _disposed = true;
            all = [.. _entries.Values.SelectMany(e => e.Tunnels)];
            _entries.Clear();
        }
        await _closed.CancelAsync();
        foreach (var pooled in all) pooled.Release?.Dispose();
        await Task.WhenAll(all.Select(p => p.Tunnel.CloseAsync().AsTask()));
    }

    /// <summary>Closes the tunnels whose peer must not be spoken to any longer, with all their streams.</summary>
    public async Task DropAsync(Predicate<TlsPeer> unwanted)
    {
        HboneClientConnection[] dropped;
        lock (_gate) dropped = [.. _entries.Values.SelectMany(e => e.Tunnels).Select(p => p.Tunnel).Where(t => t.Peer is { } peer && unwanted(peer))];
        await Task.WhenAll(dropped.Select(t => t.CloseAsync().AsTask()));
    }

    /// <summary>Tunnels close soon after they fall idle. Open streams run on, and connections taken before the drain still get theirs: nobody who was
    /// accepted is turned away. The deadline is <see cref="DisposeAsync"/>.</summary>
    public void BeginDrain()
    {
        List<(Entry Entry, Pooled Pooled)> all;
        lock (_gate)
        {
            _draining = true;
            all = [.. _entries.Values.SelectMany(e => e.Tunnels.Select(p => (e, p)))];
            foreach (var (_, pooled) in all) KeepUsed(pooled);
        }
        foreach (var (entry, pooled) in all) OnChanged(entry, pooled);
    }

    /// <summary>A tunnel with room, or something to wait for; neither when the pool is closed.</summary>
    private (Pooled? Tunnel, Task? Wait, ConnectOutcome? Refusal) Choose(HbonePoolKey key)
    {
        lock (_gate)
        {
            if (_disposed) return default;
            if (!_entries.TryGetValue(key, out var entry)) _entries.Add(key, entry = new Entry(key));
            Task? settling = null;
            foreach (var pooled in entry.Tunnels)
            {
                if (pooled.Tunnel.HasRoom)
                {
                    KeepUsed(pooled);
                    return (pooled, null, null);
                }
                if (pooled.Tunnel.AllowsNoStreams) return (null, null, new ConnectOutcome.NotProcessed("the peer allows no streams (SETTINGS_MAX_CONCURRENT_STREAMS is 0)"));
                // How many streams it may carry is not known yet: that takes one round trip, opening another takes more.
                if (!pooled.Tunnel.IsRetired && !pooled.Tunnel.SettingsReceived.IsCompleted) settling = pooled.Tunnel.SettingsReceived;
            }
            return (null, settling ?? (entry.Creation ??= CreateAsync(entry)), null);
        }
    }

    private async Task<Pooled> CreateAsync(Entry entry)
    {
        await Task.Yield();   // never under the gate
        try
        {
            var tunnel = await dial(entry.Key, _closed.Token);
            var pooled = new Pooled(tunnel);
            bool keep, refused;
            lock (_gate)
            {
                refused = tunnel.Peer is { } peer && isUnwanted?.Invoke(peer) == true;
                keep = !_disposed && !refused;
                if (!refused) entry.Creation = null;
                if (keep) entry.Tunnels.Add(pooled);
            }
            if (refused)
            {
                await tunnel.CloseAsync();
                throw new TlsHandshakeException($"the certificate of {tunnel.Peer!.Identity} was revoked during the handshake", peerRefused: true) { IsRevoked = true };
            }
            if (!keep)
            {
                await tunnel.CloseAsync();
                return pooled;
            }
            tunnel.Changed = _ => OnChanged(entry, pooled);
            OnChanged(entry, pooled);
            return pooled;
        }
        catch
        {
            lock (_gate)
            {
                entry.Creation = null;
                RemoveIfEmpty(entry);
            }
            throw;
        }
    }

    private void OnChanged(Entry entry, Pooled pooled)
    {
        lock (_gate)
        {
            if (pooled.Tunnel.IsRetired)
            {
                pooled.Release?.Dispose();
                entry.Tunnels.Remove(pooled);
                RemoveIfEmpty(entry);
            }
            else if (pooled.Tunnel.Streams == 0)
            {
                var after = _draining && options.DrainRelease < options.UnusedRelease ? options.DrainRelease : options.UnusedRelease;
                pooled.Release ??= _clock.CreateTimer(_ => ReleaseUnused(entry, pooled), null, after, Timeout.InfiniteTimeSpan);
            }
            else
            {
                KeepUsed(pooled);
            }
        }
    }

    private void ReleaseUnused(Entry entry, Pooled pooled)
    {
        lock (_gate)
        {
            if (pooled.Tunnel.Streams > 0)
            {
                KeepUsed(pooled);
                return;
            }
            if (pooled.Release is null) return;
            pooled.Release.Dispose();
            entry.Tunnels.Remove(pooled);
            RemoveIfEmpty(entry);
        }
        _ = pooled.Tunnel.SayGoodbyeAsync();
    }

    // A release may have been armed between the choice of the tunnel and the opening of its stream. Left there, it would be in the way of the one that the stream's end arms.
    private static void KeepUsed(Pooled pooled)
    {
        pooled.Release?.Dispose();
        pooled.Release = null;
    }

    private void RemoveIfEmpty(Entry entry)
    {
        if (entry.Tunnels.Count == 0 && entry.Creation is null && _entries.GetValueOrDefault(entry.Key) == entry) _entries.Remove(entry.Key);
    }
}
