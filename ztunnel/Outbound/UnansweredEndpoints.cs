using System.Collections.Concurrent;
using AmbientMesh.Model;

namespace AmbientMesh.Ztunnel.Outbound;

/// <summary>Endpoints that a client did not reach lately: others are preferred for a while, so that a node that died costs the first connection a moment and the next ones nothing. Thread-safe.</summary>
/// <remarks>By client, since what keeps one client from an endpoint (a NetworkPolicy, say) need not keep another. It prefers and never refuses: when nothing else is there, these are tried all the same.</remarks>
public sealed class UnansweredEndpoints(TimeProvider clock)
{
    /// <summary>How long others are preferred.</summary>
    public static readonly TimeSpan Memory = TimeSpan.FromSeconds(10);

    private const int MaxEntries = 4096;

    private readonly ConcurrentDictionary<(string Client, string Peer), long> _since = new();
    private long _lastAdded;
    private volatile bool _isAny;

    /// <summary>Whether an endpoint is to be left for the others now; null while every endpoint answers.</summary>
    public Predicate<Workload>? For(Workload client) => IsAny() ? peer => IsUnanswered(client, peer) : null;

    /// <summary>The client waited for it in vain.</summary>
    public void Add(Workload client, Workload peer)
    {
        if (_since.Count >= MaxEntries) _since.Clear();   // it only prefers
        var now = clock.GetTimestamp();
        Volatile.Write(ref _lastAdded, now);
        _since[(client.Uid, peer.Uid)] = now;
        _isAny = true;
    }

    /// <summary>The client reached it.</summary>
    public void Remove(Workload client, Workload peer)
    {
        if (IsAny()) _since.TryRemove((client.Uid, peer.Uid), out _);
    }

    // All of it is forgotten a while after the last was added, also that of clients and endpoints that are no more.
    private bool IsAny()
    {
        if (!_isAny) return false;
        if (clock.GetElapsedTime(Volatile.Read(ref _lastAdded)) < Memory) return true;
        _isAny = false;
        _since.Clear();
        return false;
    }

    private bool IsUnanswered(Workload client, Workload peer) =>
        _since.TryGetValue((client.Uid, peer.Uid), out var since) && clock.GetElapsedTime(since) < Memory;
}
