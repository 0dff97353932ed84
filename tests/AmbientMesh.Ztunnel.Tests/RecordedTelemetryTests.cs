using System.Net;
using AmbientMesh.Model.Tests;
using AmbientMesh.Telemetry;
using AmbientMesh.Xds;
using AmbientMesh.Ztunnel.Configuration;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.Dns;
using AmbientMesh.Ztunnel.InPod;
using AmbientMesh.Ztunnel.Reporting;
using AmbientMesh.Ztunnel.State;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.Ztunnel.Tests;

/// <summary>Metric families and admin pages beside those of a Rust ztunnel.</summary>
public sealed class RecordedTelemetryTests
{
    [Fact]
    public void Every_recorded_metric_is_there_with_its_help_type_and_unit()
    {
        var registry = new MetricRegistry();
        var tcp = new TcpMetrics(registry);
        var mesh = new MeshBuilder().Pod("client", "10.98.0.1");
        var description = new ConnectionDescription { Direction = Direction.Outbound, Source = IPEndPoint.Parse("10.98.0.1:1"), Destination = IPEndPoint.Parse("10.98.0.2:2") };
        tcp.Closed(tcp.Opened(description), CloseReason.NoRoute(mesh.Find("client")));
        var dns = new DnsMetrics(registry);
        dns.Asked(1, DnsTransport.Udp, mesh.Find("client"));
        dns.Forwarded(1, DnsTransport.Udp, mesh.Find("client"));
        dns.ForwardEnded(1, DnsTransport.Udp, mesh.Find("client"), TimeSpan.FromMilliseconds(1), failed: true);
        var discovery = new DiscoveryEvents(registry, new Uri("https://istiod:15012"), NullLogger.Instance);
        discovery.Terminated(ConnectionTermination.Reconnect, null, TimeSpan.Zero);
        discovery.Received(TypeUrls.Address, 5);
        _ = new PodTable(_ => Task.FromException<IPodProxy>(new IOException("none here")), new Readiness(), registry, NullLogger.Instance);

        var ours = MetricExposition.Write(registry).Split('\n').ToHashSet();
        var recorded = Samples.Text("samples/ztunnel/telemetry/metrics-after-traffic.txt").Split('\n')
            .Where(line => line.StartsWith("# ", StringComparison.Ordinal) && !line.Contains(" tokio_") && !line.Contains(" process_") && !line.Contains(" istio_build")).ToList();
        Assert.True(recorded.Count > 30, "the recording has the families");
        foreach (var line in recorded) Assert.Contains(line, ours);
    }

    [Fact]
    public async Task Every_recorded_admin_path_gets_the_recorded_status_and_type()
    {
        var settings = new ZtunnelSettings { AdminPort = 0, StatsPort = 0, ReadinessPort = 0, IPv6Enabled = false, InPodSocket = "/nonexistent/ztunnel.sock" };
        await using var app = await ZtunnelApp.StartAsync(settings, NullLoggerFactory.Instance, LogFilter.Parse("hickory_server::server=off,info"), TimeProvider.System);
        using var http = new HttpClient { BaseAddress = new Uri($"http://{app.Endpoints[1].EndPoints[0]}") };
        var cases = Samples.Text("samples/ztunnel/telemetry/admin-paths.txt").Split("### ", StringSplitOptions.RemoveEmptyEntries).Select(c => c.Split('\n')).ToList();
        Assert.Equal(24, cases.Count);
        foreach (var recorded in cases.Where(c => !c[0].Contains("pprof/heap")))   // that build had no profiler, nor have we: 500 there, 501 here
        {
            using var answer = await http.SendAsync(new HttpRequestMessage(new HttpMethod(recorded[0].Split(' ')[0]), recorded[0].Split(' ')[1].Trim()), Patience.Token);
            var type = recorded.FirstOrDefault(line => line.StartsWith("content-type: ", StringComparison.Ordinal))?["content-type: ".Length..].Trim();
            Assert.Equal((recorded[0], recorded[1].Trim(), type), (recorded[0], $"HTTP/1.1 {(int)answer.StatusCode} {answer.ReasonPhrase}", answer.Content.Headers.ContentType?.ToString()));
        }
        var profile = await http.GetAsync("/debug/pprof/profile", Patience.Token);
        Assert.Equal((HttpStatusCode)501, profile.StatusCode);
        Assert.Contains("dotnet-trace", await profile.Content.ReadAsStringAsync(Patience.Token));
        Assert.Equal("Invalid level provided: a=loud", (await (await http.PostAsync("/logging?level=a=loud", null, Patience.Token)).Content.ReadAsStringAsync(Patience.Token)).Split('\n')[0]);
    }
}
