namespace AmbientMesh.Telemetry.Coverage;

/// <summary>Sums Istio's standard TCP metrics by pair of workloads and by security; the same for a ztunnel's own registry and for what another one exposes.</summary>
/// <remarks>Bounded: what comes after <paramref name="maxPairs"/> pairs is summed under <see cref="MetricRegistry.OverflowLabel"/> (T-40). Not thread-safe.</remarks>
public sealed class PairAccount(int maxPairs = PairAccount.DefaultMaxPairs)
{
    public const int DefaultMaxPairs = 5_000;
    public const string Opened = "istio_tcp_connections_opened";
    public const string Received = "istio_tcp_received_bytes";
    public const string Sent = "istio_tcp_sent_bytes";
    private const string MutualTls = "mutual_tls";
    private const int MaxName = 253;

    /// <summary>The labels that are summed by, in the order <see cref="Add(string, ReadOnlySpan{string}, long)"/> takes them.</summary>
    public static IReadOnlyList<string> Labels { get; } =
        ["reporter", "source_workload_namespace", "source_workload", "destination_workload_namespace", "destination_workload", "connection_security_policy"];

    private static readonly PairEnd Rest = new(MetricRegistry.OverflowLabel, MetricRegistry.OverflowLabel);

    private readonly Dictionary<PairKey, Sums> _pairs = [];

    public readonly record struct PairKey(bool AtSource, PairEnd Source, PairEnd Destination);

    private sealed class Sums
    {
        public TrafficCount MutualTls;
        public TrafficCount Plaintext;
    }

    /// <summary>Adds one sample; families other than the three are ignored.</summary>
    /// <param name="family">Name without <c>_total</c>.</param>
    /// <param name="values">Of <see cref="Labels"/>.</param>
    public void Add(string family, ReadOnlySpan<string> values, long value)
    {
        var count = family switch
        {
            Opened => new TrafficCount(value, 0),
            Received or Sent => new TrafficCount(0, value),
            _ => default,
        };
        if (count == default) return;
        var key = new PairKey(values[0] == "source", new PairEnd(Short(values[1]), Short(values[2])), new PairEnd(Short(values[3]), Short(values[4])));
        if (!_pairs.TryGetValue(key, out var sums))
        {
            if (_pairs.Count >= maxPairs) key = new PairKey(key.AtSource, Rest, Rest);
            if (!_pairs.TryGetValue(key, out sums)) _pairs.Add(key, sums = new Sums());
        }
        if (values[5] == MutualTls) sums.MutualTls += count;
        else sums.Plaintext += count;
    }

    /// <summary>Every pair, in no order.</summary>
    public IEnumerable<(PairKey Key, Traffic Traffic)> Pairs => _pairs.Select(p => (p.Key, new Traffic { MutualTls = p.Value.MutualTls, Plaintext = p.Value.Plaintext }));

    /// <summary>The order of reports: what is least protected first.</summary>
    public static IOrderedEnumerable<PairTraffic> Ordered(IEnumerable<PairTraffic> pairs) => pairs
        .OrderByDescending(p => p.Traffic.Plaintext.Bytes).ThenByDescending(p => p.Traffic.Plaintext.Connections)
        .ThenByDescending(p => p.Traffic.MutualTls.Bytes).ThenBy(p => p.Source.Namespace, StringComparer.Ordinal).ThenBy(p => p.Source.Workload, StringComparer.Ordinal)
        .ThenBy(p => p.Destination.Namespace, StringComparer.Ordinal).ThenBy(p => p.Destination.Workload, StringComparer.Ordinal);

    private static string Short(string name) => name.Length <= MaxName ? name : name[..MaxName];
}
