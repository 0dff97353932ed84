using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using AmbientMesh.Model;
using AmbientMesh.Telemetry;
using AmbientMesh.Telemetry.Coverage;
using AmbientMesh.Ztunnel.Connections;

namespace AmbientMesh.Ztunnel.Reporting;

/// <summary>The standard TCP metrics (L4 reference §11.1, §11.2).</summary>
/// <remarks>Per connection: one look-up by both ends; label arrays are built for the first connection between them. Per byte: counters captured in <see cref="ByteCounters"/>.</remarks>
public sealed class TcpMetrics
{
    private static readonly string[] Labels =
    [
        "reporter", "source_workload", "source_canonical_service", "source_canonical_revision", "source_workload_namespace", "source_principal", "source_app", "source_version", "source_cluster",
        "destination_service", "destination_service_namespace", "destination_service_name",
        "destination_workload", "destination_canonical_service", "destination_canonical_revision", "destination_workload_namespace", "destination_principal", "destination_app", "destination_version", "destination_cluster",
        "request_protocol", "response_flags", "connection_security_policy", "source_region", "source_zone", "destination_region", "destination_zone",
    ];

    private static readonly int FlagsAt = Array.IndexOf(Labels, "response_flags");

    private static readonly int[] PairLabelsAt = [.. PairAccount.Labels.Select(label => Array.IndexOf(Labels, label))];

    private const int MaxKnown = 1024;

    // What all connections between two ends count with: finding four series by 27 labels each costs more than all else that is reported.
    private readonly ConcurrentDictionary<Ends, ByteCounters> _known = new();
    private readonly CounterFamily _opened;
    private readonly CounterFamily _closed;
    private readonly CounterFamily _received;
    private readonly CounterFamily _sent;
    private readonly CounterFamily _failed;
    private readonly CounterFamily _revoked;
    private readonly CounterFamily _untracked;
    private readonly CounterFamily _refused;
    private readonly CounterFamily _moved;
    private readonly ByteTotal _carried = new();
    private readonly Gauge _outboundSockets;
    private readonly Gauge _inboundSockets;

    public TcpMetrics(MetricRegistry registry)
    {
        _opened = registry.Counter(PairAccount.Opened, "The total number of TCP connections opened.", Labels);
        _closed = registry.Counter("istio_tcp_connections_closed", "The total number of TCP connections closed.", Labels);
        _received = registry.Counter(PairAccount.Received, "The size of total bytes received during request in case of a TCP connection.", Labels);
        _sent = registry.Counter(PairAccount.Sent, "The size of total bytes sent during response in case of a TCP connection.", Labels);
        _failed = registry.Counter("istio_tcp_connections_failed", "The total number of TCP connections that failed to establish (unstable).", Labels);
        _revoked = registry.Counter("istio_crl_policy_rejections", "The total number of connections rejected because a certificate of the peer is revoked (unstable).", "reporter");
        _untracked = registry.Counter("istio_crl_untracked_connections", "The total number of connections whose peer certificates cannot be followed by later revocation lists (unstable).", "reporter");
        foreach (var reporter in (string[])["source", "destination"]) _untracked.With(reporter).Add(0);
        _refused = registry.Counter("ambientmesh_connections_refused", "Connections refused, failed or ended before both sides were done, by reason.", "reporter", "reason");
        _moved = registry.Counter("ambientmesh_connections_moved", "Endpoints that were not reached and in whose place another of the service was tried, by reason.", "reason");
        var sockets = registry.Gauge("istio_tcp_sockets_open", "The current number of open TCP sockets (unstable).", "reporter");
        _outboundSockets = sockets.With("source");
        _inboundSockets = sockets.With("destination");
    }

    /// <summary>Bytes counted so far, both ways.</summary>
    public long CarriedBytes => _carried.Bytes;

    /// <summary>Open sockets of one direction; raised at accept, lowered at close.</summary>
    public Gauge Sockets(Direction direction) => direction == Direction.Outbound ? _outboundSockets : _inboundSockets;

    /// <summary>Counts a handshake refused because of a revocation list.</summary>
    public void Revoked(Direction direction) => _revoked.With(Reporter(direction)).Add();

    /// <summary>Counts a tunnel whose peer's certificates are not known by issuer and number: a later revocation list cannot end it.</summary>
    public void Untracked(Direction direction) => _untracked.With(Reporter(direction)).Add();

    /// <summary>Counts a connection that was refused, failed or was ended, by its one reason.</summary>
    public void Refused(Direction direction, Reason reason) => _refused.With(Reporter(direction), reason.Word()).Add();

    /// <summary>Counts the opening and returns where bytes are counted.</summary>
    public ByteCounters Opened(ConnectionDescription connection)
    {
        var ends = new Ends(connection);
        if (!_known.TryGetValue(ends, out var counters))
        {
            var labels = LabelsOf(connection, "-");
            counters = new ByteCounters(_received.With(labels), _sent.With(labels)) { Labels = labels, Total = _carried, Opened = _opened.With(labels) };
            if (_known.Count >= MaxKnown) _known.Clear();
            _known[ends] = counters;
        }
        counters.Opened.Add();
        return counters;
    }

    /// <summary>Counts the end; <paramref name="reason"/> null means both sides finished. The reason itself is counted by <see cref="Refused"/>.</summary>
    /// <param name="opened">What <see cref="Opened"/> gave for this connection.</param>
    public void Closed(ByteCounters opened, CloseReason? reason)
    {
        var flags = reason?.ResponseFlags ?? "-";
        if (flags == "-")
        {
            (opened.Closed ??= _closed.With(opened.Labels)).Add();
            return;
        }
        string[] labels = [.. opened.Labels];
        labels[FlagsAt] = flags;
        _closed.With(labels).Add();
        _failed.With(labels).Add();
    }

    /// <summary>Counts an endpoint in whose place another is tried, by why.</summary>
    public void Moved(Reason reason) => _moved.With(reason.Word()).Add();

    /// <summary>Adds what was counted so far by pair of workloads.</summary>
    public void SumInto(PairAccount account)
    {
        var values = new string[PairLabelsAt.Length];
        foreach (var (name, family) in ((string, CounterFamily)[])[(PairAccount.Opened, _opened), (PairAccount.Received, _received), (PairAccount.Sent, _sent)])
        {
            foreach (var (labels, value) in family.Read())
            {
                for (var i = 0; i < values.Length; i++) values[i] = labels[PairLabelsAt[i]];
                account.Add(name, values, value);
            }
        }
    }

    private static string[] LabelsOf(ConnectionDescription connection, string flags)
    {
        var source = connection.SourcePeer;
        var destination = connection.DestinationPeer;
        string[] labels =
        [
            Reporter(connection.Direction),
            Known(source?.Workload), Known(source?.CanonicalService), Known(source?.CanonicalRevision), Known(source?.Namespace), Known(connection.SourceIdentity?.ToString()),
            Known(source?.App), Known(source?.Version), Known(source?.Cluster),
            Known(connection.Service?.Hostname), Known(connection.Service?.Namespace), Known(connection.Service?.Name),
            Known(destination?.Workload), Known(destination?.CanonicalService), Known(destination?.CanonicalRevision), Known(destination?.Namespace), Known(connection.DestinationIdentity?.ToString()),
            Known(destination?.App), Known(destination?.Version), Known(destination?.Cluster),
            "tcp", flags, connection.IsMutualTls ? "mutual_tls" : "unknown",
            Known(source?.Region), Known(source?.Zone), Known(destination?.Region), Known(destination?.Zone),
        ];
        System.Diagnostics.Debug.Assert(labels[FlagsAt] == flags);
        return labels;
    }

    /// <summary>What decides about a connection's labels. The same ends may be found different (labels are compared as objects), never different ones the same.</summary>
    private readonly struct Ends(ConnectionDescription connection) : IEquatable<Ends>
    {
        private readonly (Direction, bool, SpiffeId?, SpiffeId?) _values = (connection.Direction, connection.IsMutualTls, connection.SourceIdentity, connection.DestinationIdentity);
        private readonly PeerLabels? _source = connection.SourcePeer;
        private readonly PeerLabels? _destination = connection.DestinationPeer;
        private readonly MeshService? _service = connection.Service;

        public bool Equals(Ends other) =>
            ReferenceEquals(_source, other._source) && ReferenceEquals(_destination, other._destination) && ReferenceEquals(_service, other._service) && _values == other._values;

        public override bool Equals(object? obj) => obj is Ends other && Equals(other);

        // Identities go with the workloads; comparing them is enough.
        public override int GetHashCode() => HashCode.Combine(RuntimeHelpers.GetHashCode(_source), RuntimeHelpers.GetHashCode(_destination), RuntimeHelpers.GetHashCode(_service), _values.Item1);
    }

    private static string Reporter(Direction direction) => direction == Direction.Outbound ? "source" : "destination";

    private static string Known(string? value) => string.IsNullOrEmpty(value) ? "unknown" : value;
}

/// <summary>Where a connection's bytes are counted: received from the downstream client, sent to it.</summary>
public sealed record ByteCounters(Counter Received, Counter Sent)
{
    /// <summary>The connection's label values, for counting its end.</summary>
    internal string[] Labels { get; init; } = [];

    /// <summary>Where all connections are counted together.</summary>
    internal ByteTotal Total { get; init; } = new();
    internal Counter Opened { get; init; } = new();

    /// <summary>Counts ends without an error; null before the first.</summary>
    internal Counter? Closed { get; set; }
}

/// <summary>A number of bytes that only grows. Thread-safe.</summary>
internal sealed class ByteTotal
{
    private long _bytes;

    public long Bytes => Interlocked.Read(ref _bytes);

    public void Add(long bytes) => Interlocked.Add(ref _bytes, bytes);
}
