using AmbientMesh.Model;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Connections;

namespace AmbientMesh.Ztunnel.Reporting;

/// <summary>A connection that is over.</summary>
public readonly record struct EndedConnection
{
    public required TraceContext Trace { get; init; }
    public required WorkloadInfo Pod { get; init; }
    public required ConnectionDescription Description { get; init; }
    public required DateTimeOffset OpenedAt { get; init; }
    public TimeSpan Duration { get; init; }

    /// <summary>Bytes read from the downstream client.</summary>
    public long Received { get; init; }

    /// <summary>Bytes written to it.</summary>
    public long Sent { get; init; }

    /// <summary>Null when both sides finished.</summary>
    public CloseReason? Reason { get; init; }
}

/// <summary>The last connections that ended, so that a refusal can be explained afterwards. Bounded; thread-safe.</summary>
/// <remarks>Refused and failed ones are kept apart from those that simply finished: a busy node's traffic does not push out the one denial somebody asks about.</remarks>
public sealed class EndedConnections(int refused = EndedConnections.RefusedKept, int finished = EndedConnections.FinishedKept)
{
    public const int RefusedKept = 4096;
    public const int FinishedKept = 1024;

    private readonly Ring _refused = new(refused);
    private readonly Ring _finished = new(finished);

    public void Add(in EndedConnection ended) => (ended.Reason is null ? _finished : _refused).Add(ended);

    /// <summary>The newest first, at most <paramref name="limit"/>.</summary>
    /// <param name="where">Which ones; null for all.</param>
    public IReadOnlyList<EndedConnection> Newest(int limit, Predicate<EndedConnection>? where = null)
    {
        var found = new List<EndedConnection>();
        _refused.CopyNewest(found, limit, where);
        _finished.CopyNewest(found, limit, where);
        return [.. found.OrderByDescending(c => c.OpenedAt + c.Duration).Take(limit)];
    }

    /// <summary>Both ends of a connection within one node have the same id.</summary>
    public IReadOnlyList<EndedConnection> Find(UInt128 id) => Newest(int.MaxValue, c => c.Trace.TraceId == id);

    /// <summary>Grows as it fills, so that a quiet proxy pays nothing.</summary>
    private sealed class Ring(int capacity)
    {
        private readonly Lock _gate = new();
        private readonly List<EndedConnection> _items = [];
        private int _oldest;

        public void Add(in EndedConnection item)
        {
            lock (_gate)
            {
                if (_items.Count < capacity) _items.Add(item);
                else
                {
                    _items[_oldest] = item;
                    _oldest = _oldest + 1 == capacity ? 0 : _oldest + 1;
                }
            }
        }

        public void CopyNewest(List<EndedConnection> into, int limit, Predicate<EndedConnection>? where)
        {
            lock (_gate)
            {
                for (var i = 0; i < _items.Count && limit > 0; i++)
                {
                    var item = _items[(_oldest + _items.Count - 1 - i) % _items.Count];
                    if (where is not null && !where(item)) continue;
                    into.Add(item);
                    limit--;
                }
            }
        }
    }
}
