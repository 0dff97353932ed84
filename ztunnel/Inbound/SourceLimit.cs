using System.Net;

namespace AmbientMesh.Ztunnel.Inbound;

/// <summary>How many of something each client address may have at once, so that one peer cannot use up what all need. Thread-safe.</summary>
public sealed class SourceLimit(int perSource)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<IPAddress, int> _counts = [];

    /// <summary>Takes a place, given back by disposing it; null when the address has all of its own.</summary>
    public IDisposable? TryEnter(IPAddress source)
    {
        lock (_gate)
        {
            var count = _counts.GetValueOrDefault(source);
            if (count >= perSource) return null;
            _counts[source] = count + 1;
        }
        return new Place(this, source);
    }

    /// <summary>Addresses that have a place; those that have none are not remembered.</summary>
    public int Sources
    {
        get { lock (_gate) return _counts.Count; }
    }

    private void Leave(IPAddress source)
    {
        lock (_gate)
        {
            if (--_counts[source] == 0) _counts.Remove(source);
        }
    }

    private sealed class Place(SourceLimit limit, IPAddress source) : IDisposable
    {
        private int _left;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _left, 1) == 0) limit.Leave(source);
        }
    }
}
