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

    /// <summary>Whether an endpoint is to be left for the others now; null, which costs nothing to ask, while every endpoint answers.</summary>
    public Predicate<Workload>? For(Workload client) => _since.IsEmpty ? null : peer => IsUnanswered(client, peer);

    /// <summary>The client waited for it in vain.</summary>
    public void Add(Workload client, Workload peer)
    {
        if (_since.Count >= MaxEntries) _since.Clear();   // it only prefers
        _since[(client.Uid, peer.Uid)] = clock.GetTimestamp();
    }

    /// <summary>The client reached it.</summary>
    public void Remove(Workload client, Workload peer)
    {
        if (!_since.IsEmpty) _since.TryRemove((client.Uid, peer.Uid), out _);
    }

    private bool IsUnanswered(Workload client, Workload peer)
    {
        if (!_since.TryGetValue((client.Uid, peer.Uid), out var since)) return false;
        if (clock.GetElapsedTime(since) < Memory) return true;
        _since.TryRemove(new KeyValuePair<(string, string), long>((client.Uid, peer.Uid), since));
        return false;
    }
}
