namespace AmbientMesh.Telemetry.Tests;

public sealed class MetricExpositionTests
{
    [Fact]
    public void OpenMetrics_text_matches_what_a_ztunnel_serves_before_its_first_connection()
    {
        var registry = new MetricRegistry();
        registry.Gauge("istio_build", "Istio component build info.", "component", "tag").With("ztunnel", "unknown").Set(1);
        var ended = registry.Counter("istio_xds_connection_terminations", "The total number of completed connections to xds server (unstable).", "reason");
        registry.Counter("istio_tcp_connections_opened", "Never used, so never shown.", "reporter");
        ended.With("ConnectionError").Add(7);
        registry.GaugeFrom("workload_manager_active_proxy_count", "The total number current workloads with active proxies (unstable).", () => 0);
        registry.GaugeFrom("workload_manager_pending_proxy_count", "The total number current workloads with pending proxies (unstable).", () => 0);
        registry.Counter("workload_manager_proxies_started", "The total number of proxies that were started (unstable).");
        registry.Counter("workload_manager_proxies_stopped", "The total number of proxies that were stopped (unstable).");

        var recorded = Samples.Text("samples/ztunnel/telemetry/stats-before-xds-metrics.txt");
        Assert.Equal(recorded[recorded.IndexOf("# HELP istio_build", StringComparison.Ordinal)..], MetricExposition.Write(registry));
    }

    [Fact]
    public void A_histogram_is_written_as_recorded()
    {
        var registry = new MetricRegistry();
        var family = registry.Histogram("istio_dns_upstream_request_duration_seconds", "Total time in seconds Istio takes to get DNS response from upstream (unstable).",
            [0.0005, 0.001, 0.01, 0.1, 1, 5], "request_query_type", "request_protocol", "source_canonical_service", "source_canonical_revision");
        family.Unit = "seconds";
        family.With("any", "udp", "client", "v1").Observe(0.000114646);

        var recorded = Samples.Text("samples/ztunnel/telemetry/metrics-after-traffic.txt").Split('\n').Where(l => l.Contains("istio_dns_upstream_request_duration_seconds") && (l.StartsWith('#') || l.Contains("\"any\"")));
        Assert.Equal(string.Join('\n', recorded) + "\n# EOF\n", MetricExposition.Write(registry));
    }

    [Fact]
    public void Prometheus_text_keeps_names_as_registered()
    {
        var registry = new MetricRegistry();
        registry.Counter("pilot_xds_pushes", "Pushes.", "type").With("wds").Add(3);
        Assert.Equal("# HELP pilot_xds_pushes Pushes.\n# TYPE pilot_xds_pushes counter\npilot_xds_pushes{type=\"wds\"} 3\n", MetricExposition.Write(registry, MetricFormat.Prometheus));
    }

    [Fact]
    public void A_total_suffix_is_never_doubled()
    {
        var registry = new MetricRegistry();
        registry.Counter("requests_total", "Requests.");
        Assert.Equal("# HELP requests Requests.\n# TYPE requests counter\nrequests_total 0\n# EOF\n", MetricExposition.Write(registry));
    }

    [Fact]
    public void Label_values_from_outside_cannot_add_lines()
    {
        var registry = new MetricRegistry();
        registry.Gauge("g", "line\nbreak", "l").With("a\"b\\c\nd").Set(1.5);
        Assert.Equal("# HELP g line\\nbreak\n# TYPE g gauge\ng{l=\"a\\\"b\\\\c\\nd\"} 1.5\n# EOF\n", MetricExposition.Write(registry));
    }

    [Fact]
    [Scenario("T-40")]
    public void Series_beyond_the_limit_are_counted_together()
    {
        var registry = new MetricRegistry(maxSeriesPerFamily: 2);
        var family = registry.Counter("c", "C.", "l");
        for (var i = 0; i < 100; i++) family.With($"v{i}").Add();
        var text = MetricExposition.Write(registry);
        Assert.Contains("c_total{l=\"overflow\"} 98\n", text);
        Assert.Equal(3, text.Split('\n').Count(l => l.StartsWith("c_total", StringComparison.Ordinal)));
    }

    [Fact]
    public void The_same_label_set_is_one_series_whoever_asks()
    {
        var family = new MetricRegistry().Counter("c", "C.", "l");
        Parallel.For(0, 1000, _ => family.With("x").Add());
        Assert.Equal(1000, family.With("x").Value);
    }

    [Fact]
    public void Captured_series_count_without_allocating()
    {
        var registry = new MetricRegistry();
        var counter = registry.Counter("c", "C.", "l").With("x");
        var gauge = registry.Gauge("g", "G.");
        counter.Add();
        gauge.Increment();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
        {
            counter.Add(5);
            gauge.Decrement();
        }
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void Registering_a_name_twice_is_refused_by_name()
    {
        var registry = new MetricRegistry();
        registry.Counter("c", "C.");
        Assert.Contains("c", Assert.Throws<InvalidOperationException>(() => registry.Gauge("c", "C.")).Message);
    }

    [Fact]
    public void A_wrong_number_of_labels_is_refused()
    {
        var family = new MetricRegistry().Counter("c", "C.", "a", "b");
        Assert.Throws<ArgumentException>(() => family.With("x"));
    }
}
