using AmbientMesh.Telemetry;
using AmbientMesh.Telemetry.Coverage;

namespace AmbientMesh.ControlPlane.Coverage;

/// <summary>Adds up what the ztunnels counted, over their restarts and ends. Not thread-safe.</summary>
/// <remarks>
/// A connection between two nodes is counted at both ends: of a pair, the larger figure of the two ends counts, so that neither doubling nor a silent node falsifies it.
/// Bounded: pairs beyond <paramref name="maxPairs"/> are summed under one name (T-40).
/// </remarks>
internal sealed class TrafficLedger(int maxPairs = 20_000)
{
    private static readonly TimeSpan Window = TimeSpan.FromHours(1);
    private static readonly PairEnd Rest = new(MetricRegistry.OverflowLabel, MetricRegistry.OverflowLabel);

    private readonly Dictionary<(PairEnd Source, PairEnd Destination), PairSums> _pairs = [];
    private readonly Dictionary<string, Dictionary<PairAccount.PairKey, Traffic>> _last = [];
    private readonly List<(DateTimeOffset At, Traffic Recent)> _marks = [];

    private sealed class PairSums
    {
        public Ends Total { get; set; }
        public Ends Recent { get; set; }
    }

    private readonly record struct Ends(Traffic? AtSource, Traffic? AtDestination)
    {
        public Ends Add(bool atSource, Traffic traffic) =>
            atSource ? this with { AtSource = (AtSource ?? new Traffic()) + traffic } : this with { AtDestination = (AtDestination ?? new Traffic()) + traffic };

        public Traffic Counted => (AtSource, AtDestination) switch
        {
            ({ } a, { } b) => new Traffic { MutualTls = Larger(a.MutualTls, b.MutualTls), Plaintext = Larger(a.Plaintext, b.Plaintext) },
            var (a, b) => a ?? b ?? new Traffic(),
        };

        private static TrafficCount Larger(TrafficCount a, TrafficCount b) => new(Math.Max(a.Connections, b.Connections), Math.Max(a.Bytes, b.Bytes));
    }

    /// <summary>Takes the present counters of a ztunnel.</summary>
    /// <param name="isNew">It started while this ledger was kept, so that its first figures are recent as well.</param>
    public void Take(string ztunnel, PairAccount counted, bool isNew)
    {
        var isFirst = !_last.TryGetValue(ztunnel, out var last);
        var now = new Dictionary<PairAccount.PairKey, Traffic>();
        foreach (var (key, traffic) in counted.Pairs)
        {
            now[key] = traffic;
            var before = last?.GetValueOrDefault(key);
            // A counter that fell was begun anew.
            var more = before is null || traffic.MutualTls.Bytes < before.MutualTls.Bytes || traffic.MutualTls.Connections < before.MutualTls.Connections
                || traffic.Plaintext.Bytes < before.Plaintext.Bytes || traffic.Plaintext.Connections < before.Plaintext.Connections
                ? traffic
                : new Traffic { MutualTls = Less(traffic.MutualTls, before.MutualTls), Plaintext = Less(traffic.Plaintext, before.Plaintext) };
            var sums = SumsOf(key);
            sums.Total = sums.Total.Add(key.AtSource, more);
            if (!isFirst || isNew) sums.Recent = sums.Recent.Add(key.AtSource, more);
        }
        _last[ztunnel] = now;
    }

    /// <summary>Drops what is only needed to go on counting, for ztunnels that no longer exist; their traffic stays counted.</summary>
    public void KeepOnly(IReadOnlySet<string> ztunnels)
    {
        foreach (var gone in _last.Keys.Where(uid => !ztunnels.Contains(uid)).ToList()) _last.Remove(gone);
    }

    /// <summary>Ends a round; the last hour is measured from such marks.</summary>
    public void Mark(DateTimeOffset now)
    {
        _marks.Add((now, Recent));
        while (_marks.Count > 1 && now - _marks[1].At >= Window) _marks.RemoveAt(0);   // the last one before the window is what it is measured from
    }

    public Traffic Total => _pairs.Values.Aggregate(new Traffic(), (sum, pair) => sum + pair.Total.Counted);

    /// <summary>Of pairs whose two ends are workloads the mesh knows.</summary>
    public Traffic BetweenWorkloads => _pairs.Where(p => IsKnown(p.Key.Source) && IsKnown(p.Key.Destination)).Aggregate(new Traffic(), (sum, pair) => sum + pair.Value.Total.Counted);

    /// <summary>From the last mark that is an hour old until now; all that is recent when none is.</summary>
    public Traffic LastHour(DateTimeOffset now)
    {
        var from = _marks.Count > 0 && now - _marks[0].At >= Window ? _marks[0].Recent : new Traffic();
        var recent = Recent;
        return new Traffic { MutualTls = Less(recent.MutualTls, from.MutualTls), Plaintext = Less(recent.Plaintext, from.Plaintext) };
    }

    /// <summary>What is least protected first.</summary>
    public IReadOnlyList<PairTraffic> Pairs =>
        [.. PairAccount.Ordered(_pairs.Select(p => new PairTraffic { Source = p.Key.Source, Destination = p.Key.Destination, Traffic = p.Value.Total.Counted }))];

    private Traffic Recent => _pairs.Values.Aggregate(new Traffic(), (sum, pair) => sum + pair.Recent.Counted);

    private PairSums SumsOf(PairAccount.PairKey key)
    {
        var pair = (key.Source, key.Destination);
        if (_pairs.TryGetValue(pair, out var sums)) return sums;
        if (_pairs.Count >= maxPairs) pair = (Rest, Rest);
        if (!_pairs.TryGetValue(pair, out sums)) _pairs.Add(pair, sums = new PairSums());
        return sums;
    }

    private static bool IsKnown(PairEnd end) => end.Workload is not (MetricTextReader.Missing or MetricRegistry.OverflowLabel);

    private static TrafficCount Less(TrafficCount a, TrafficCount b) => new(a.Connections - b.Connections, a.Bytes - b.Bytes);
}
