using System.Diagnostics;
using AmbientMesh.Telemetry;

namespace AmbientMesh.ControlPlane.Serving;

/// <summary>The discovery metrics of reference 11.5, under istiod's names.</summary>
public sealed class ControlPlaneMetrics
{
    private static readonly double[] ConvergenceBuckets = [0.1, 0.5, 1, 3, 5, 10, 20, 30];
    private static readonly double[] TimeBuckets = [0.01, 0.1, 1, 3, 5, 10, 20, 30];
    private static readonly double[] SizeBuckets = [1, 10_000, 1_000_000, 4_000_000, 10_000_000, 40_000_000];

    private readonly GaugeFamily _clients;
    private readonly CounterFamily _pushes;
    private readonly CounterFamily _triggers;
    private readonly CounterFamily _updates;
    private readonly CounterFamily _rejections;
    private readonly CounterFamily _refusals;
    private readonly Histogram _convergence;
    private readonly Histogram _queue;
    private readonly Histogram _debounce;
    private readonly Histogram _snapshot;
    private readonly HistogramFamily _size;
    private readonly HistogramFamily _pushTime;
    private readonly Histogram _sendTime;
    private readonly Gauge _services;
    private readonly GaugeFamily _policies;

    public ControlPlaneMetrics(MetricRegistry registry)
    {
        Registry = registry;
        _clients = registry.Gauge("pilot_xds", "Discovery clients connected now.", "version");
        _pushes = registry.Counter("pilot_xds_pushes", "Responses sent to discovery clients, by resource type.", "type");
        _triggers = registry.Counter("pilot_push_triggers", "Pushes begun, by what caused them.", "type");
        _updates = registry.Counter("pilot_inbound_updates", "Changes of objects seen at the API server, by resource.", "type");
        _rejections = registry.Counter("pilot_total_xds_rejects", "Responses of which a client rejected something.", "type");
        _refusals = registry.Counter("pilot_xds_refused", "Discovery streams that were not admitted, by gRPC status.", "reason");
        _convergence = registry.Histogram("pilot_proxy_convergence_time", "Time in seconds from a change to its being written to a client.", ConvergenceBuckets).With();
        _queue = registry.Histogram("pilot_proxy_queue_time", "Time in seconds from a snapshot to its being written to a client.", ConvergenceBuckets).With();
        _debounce = registry.Histogram("pilot_debounce_time", "Time in seconds that the first change of a push waited for others.", TimeBuckets).With();
        _snapshot = registry.Histogram("pilot_pushcontext_init_seconds", "Time in seconds to make a snapshot of what changed.", TimeBuckets).With();
        _size = registry.Histogram("pilot_xds_config_size_bytes", "Bytes of one response.", SizeBuckets, "type");
        _pushTime = registry.Histogram("pilot_xds_push_time", "Time in seconds to make a response for one client.", TimeBuckets, "type");
        _sendTime = registry.Histogram("pilot_xds_send_time", "Time in seconds to write a response to one client.", TimeBuckets).With();
        registry.Gauge("pilot_info", "Version of the control plane.", "version").With(typeof(ControlPlaneMetrics).Assembly.GetName().Version?.ToString(3) ?? "unknown").Set(1);
        var started = Stopwatch.GetTimestamp();
        registry.GaugeFrom("istiod_uptime_seconds", "Seconds since this control plane was started.", () => Stopwatch.GetElapsedTime(started).TotalSeconds);
        _services = registry.Gauge("pilot_services", "Services known.");
        _policies = registry.Gauge("ambientmesh_policies", "Policy objects by kind and by what became of them: accepted, partial or refused.", "kind", "outcome");
    }

    public MetricRegistry Registry { get; }

    /// <summary>A client was admitted (+1) or has gone (-1).</summary>
    public void ClientCount(string version, int change) => _clients.With(version).Add(change);

    /// <summary>A response was written to a client.</summary>
    public void Pushed(string type, int bytes)
    {
        _pushes.With(type).Add();
        _size.With(type).Observe(bytes);
    }

    /// <summary>A response took this long to make and to write.</summary>
    public void Timed(string type, TimeSpan made, TimeSpan written)
    {
        _pushTime.With(type).Observe(made.TotalSeconds);
        _sendTime.Observe(written.TotalSeconds);
    }

    /// <summary>A response could not be written to a client.</summary>
    public void SendFailed(string type) => _pushes.With($"{type}_senderr").Add();

    /// <summary>A client rejected something of a response.</summary>
    public void Rejected(string type) => _rejections.With(type).Add();

    /// <summary>A stream was not admitted.</summary>
    public void Refused(string reason) => _refusals.With(reason).Add();

    /// <summary>Changes are about to be pushed; <paramref name="debounced"/> since the first of them, <paramref name="built"/> to make the snapshot.</summary>
    public void Triggered(string reason, TimeSpan debounced, TimeSpan built)
    {
        _triggers.With(reason).Add();
        _debounce.Observe(debounced.TotalSeconds);
        _snapshot.Observe(built.TotalSeconds);
    }

    /// <summary>A client has been sent everything of a snapshot, this long after the snapshot was made and after the first change in it.</summary>
    public void Converged(TimeSpan queued, TimeSpan sinceChange)
    {
        _queue.Observe(queued.TotalSeconds);
        _convergence.Observe(sinceChange.TotalSeconds);
    }

    /// <summary>An object of the API server was seen to change.</summary>
    public void Updated(string resource) => _updates.With(resource).Add();

    /// <summary>So many more (or fewer) policies of this kind have this outcome.</summary>
    public void Policies(string kind, string outcome, int change) => _policies.With(kind, outcome).Add(change);

    public void Services(int count) => _services.Set(count);
}
