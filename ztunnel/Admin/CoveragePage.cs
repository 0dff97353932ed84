using System.Globalization;
using System.Text.Json;
using AmbientMesh.Telemetry;
using AmbientMesh.Telemetry.Coverage;
using AmbientMesh.Ztunnel.InPod;
using AmbientMesh.Ztunnel.Reporting;

namespace AmbientMesh.Ztunnel.Admin;

/// <summary><c>GET /debug/coverage</c>: how much of what this node carried went under mutual TLS; and the two metrics of the same figures.</summary>
/// <remarks>Summed from the standard TCP metrics when asked, so that the two cannot differ and connections pay nothing for it.</remarks>
/// <param name="countBytes">Brings the byte counters of open connections up to date.</param>
public sealed class CoveragePage(string node, TcpMetrics metrics, PodTable pods, Action countBytes, TimeProvider clock)
{
    private const int DefaultLimit = 500;
    private const int MaxLimit = PairAccount.DefaultMaxPairs;

    public HttpEndpointResponse Answer(HttpEndpointRequest request)
    {
        if (request.Method is not ("GET" or "HEAD")) return HttpEndpointResponse.MethodNotAllowed;
        var limit = DefaultLimit;
        if (request.QueryValue("limit") is { } text && !(int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out limit) && limit <= MaxLimit))
            return HttpEndpointResponse.Text(400, $"limit: expected 0 to {MaxLimit}\n");
        return HttpEndpointResponse.Json(JsonSerializer.SerializeToUtf8Bytes(Report(limit), CoverageJson.Default.ZtunnelCoverage));
    }

    /// <summary>Registers <c>ambientmesh_coverage_connections</c> and <c>ambientmesh_coverage_bytes</c>; pairs are in the standard TCP metrics.</summary>
    public void Register(MetricRegistry registry)
    {
        string[] labels = ["reporter", "connection_security_policy"];
        registry.CounterFrom("ambientmesh_coverage_connections", "Connections by the end they were counted at and by how they were secured.", labels, () => Series(c => c.Connections));
        registry.CounterFrom("ambientmesh_coverage_bytes", "Bytes both ways by the end they were counted at and by how they were secured.", labels, () => Series(c => c.Bytes));
    }

    private ZtunnelCoverage Report(int limit)
    {
        countBytes();
        var pairs = PairAccount.Ordered(Sum().Pairs.Select(p => new PairTraffic { Source = p.Key.Source, Destination = p.Key.Destination, Traffic = p.Traffic, Reporter = Reporter(p.Key.AtSource) })).ToList();
        var served = pods.Pods;
        return new ZtunnelCoverage
        {
            Node = node,
            Time = clock.GetUtcNow(),
            PodsServed = served.Count(p => p.Proxy is not null),
            PodsPending = served.Count(p => p.Proxy is null),
            Traffic = pairs.Aggregate(new Traffic(), (sum, pair) => sum + pair.Traffic),
            Pairs = [.. pairs.Take(limit)],
            PairsLeftOut = Math.Max(0, pairs.Count - limit),
        };
    }

    private IEnumerable<ObservedSeries> Series(Func<TrafficCount, long> count)
    {
        foreach (var end in Sum().Pairs.GroupBy(p => p.Key.AtSource))
        {
            var traffic = end.Aggregate(new Traffic(), (sum, pair) => sum + pair.Traffic);
            yield return new ObservedSeries([Reporter(end.Key), "mutual_tls"], count(traffic.MutualTls));
            yield return new ObservedSeries([Reporter(end.Key), "unknown"], count(traffic.Plaintext));
        }
    }

    private PairAccount Sum()
    {
        var account = new PairAccount();
        metrics.SumInto(account);
        return account;
    }

    private static string Reporter(bool atSource) => atSource ? "source" : "destination";
}
