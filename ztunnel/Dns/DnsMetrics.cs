using AmbientMesh.Model;
using AmbientMesh.Telemetry;

namespace AmbientMesh.Ztunnel.Dns;

/// <summary>The metrics of the DNS proxy (L4 reference §11.1). Types outside a closed set count as <c>unknown</c>.</summary>
public sealed class DnsMetrics(MetricRegistry registry)
{
    private static readonly string[] Labels = ["request_query_type", "request_protocol", "source_canonical_service", "source_canonical_revision"];
    private static readonly double[] Seconds = [0.0005, 0.001, 0.01, 0.1, 1, 5];

    private readonly CounterFamily _requests = registry.Counter("istio_dns_requests", "Total number of DNS requests (unstable).", Labels);
    private readonly CounterFamily _upstream = registry.Counter("istio_dns_upstream_requests", "Total number of DNS requests forwarded to upstream (unstable).", Labels);
    private readonly CounterFamily _failures = registry.Counter("istio_dns_upstream_failures", "Total number of DNS requests that failed to forward upstream (unstable).", Labels);
    private readonly CounterFamily _onDemand = registry.Counter("istio_on_demand_dns", "The total number of requests that used on-demand DNS (unstable).",
        "source_workload", "source_canonical_service", "source_canonical_revision", "source_workload_namespace", "source_principal", "source_app", "source_version", "source_cluster", "hostname");
    private readonly HistogramFamily _duration = InSeconds(registry.Histogram("istio_dns_upstream_request_duration_seconds", "Total time in seconds Istio takes to get DNS response from upstream (unstable).", Seconds, Labels));

    public void Asked(ushort type, DnsTransport transport, Workload? client) => _requests.With(LabelsOf(type, transport, client)).Add();

    public void Forwarded(ushort type, DnsTransport transport, Workload? client) => _upstream.With(LabelsOf(type, transport, client)).Add();

    /// <param name="failed">No server answered; an answer of any code is none.</param>
    public void ForwardEnded(ushort type, DnsTransport transport, Workload? client, TimeSpan took, bool failed)
    {
        var labels = LabelsOf(type, transport, client);
        _duration.With(labels).Observe(took.TotalSeconds);
        if (failed) _failures.With(labels).Add();
    }

    /// <summary>A connection of <paramref name="client"/> goes to a workload that has a host name instead of addresses.</summary>
    public void OnDemand(Workload client, string hostname) => _onDemand.With(
        Known(client.WorkloadName), Known(client.CanonicalName), Known(client.CanonicalRevision), Known(client.Namespace), client.Identity.ToString(),
        Known(client.CanonicalName), Known(client.CanonicalRevision), Known(client.ClusterId), hostname).Add();

    private static HistogramFamily InSeconds(HistogramFamily family)
    {
        family.Unit = "seconds";
        return family;
    }

    private static string[] LabelsOf(ushort type, DnsTransport transport, Workload? client) =>
        [DnsTypes.NameOf(type), transport == DnsTransport.Udp ? "udp" : "tcp", Known(client?.CanonicalName), Known(client?.CanonicalRevision)];

    private static string Known(string? value) => string.IsNullOrEmpty(value) ? "unknown" : value;
}
