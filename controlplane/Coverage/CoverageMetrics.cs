using AmbientMesh.Telemetry;
using AmbientMesh.Telemetry.Coverage;

namespace AmbientMesh.ControlPlane.Coverage;

/// <summary>The mesh's coverage as metrics, read from one report per scrape.</summary>
internal static class CoverageMetrics
{
    private const int MaxPairs = 500;
    private static readonly string[] PairLabels =
        ["source_workload_namespace", "source_workload", "destination_workload_namespace", "destination_workload", "connection_security_policy"];

    /// <param name="read">Gives the report with at most so many pairs.</param>
    public static void Register(MetricRegistry registry, Func<int, MeshCoverage> read)
    {
        MeshCoverage Report() => read(MaxPairs);
        registry.GaugeFrom("ambientmesh_coverage_pods", "Pods of the mesh by state.", ["state"], () =>
        {
            var pods = Report().Pods;
            return
            [
                new([PodStates.Verified], pods.Verified), new([PodStates.Enrolled], pods.Enrolled - pods.Verified), new([PodStates.Gap], pods.Gaps),
                new([PodStates.Starting], pods.Starting), new([PodStates.Exempt], pods.Exempt), new([PodProtection.Outside], pods.Outside),
            ];
        });
        registry.GaugeFrom("ambientmesh_coverage_gaps", "Pods that should be protected and are not, by reason.", ["reason"], () => Report().Gaps.CountBy(gap => gap.Reason).Select(g => new ObservedSeries([g.Key], g.Value)));
        registry.GaugeFrom("ambientmesh_coverage_nodes", "Nodes by part and by whether that part could be asked.", ["part", "state"], () =>
        {
            var nodes = Report().Nodes;
            return PartStates.All.SelectMany(state => new ObservedSeries[]
            {
                new(["agent", state], nodes.Count(node => node.Agent.State == state)), new(["ztunnel", state], nodes.Count(node => node.Ztunnel.State == state)),
            });
        });
        registry.CounterFrom("ambientmesh_coverage_connections_total", "Connections of the mesh by how they were secured.", ["connection_security_policy"], () => Totals(Report().Traffic, c => c.Connections));
        registry.CounterFrom("ambientmesh_coverage_bytes_total", "Bytes of the mesh by how they were secured.", ["connection_security_policy"], () => Totals(Report().Traffic, c => c.Bytes));
        registry.CounterFrom("ambientmesh_coverage_pair_bytes_total", $"Bytes between workloads by how they were secured; the {MaxPairs} pairs with most plaintext, then most bytes.", PairLabels,
            () => Report().Pairs.SelectMany(pair => Totals(pair.Traffic, c => c.Bytes)
                .Select(series => new ObservedSeries([pair.Source.Namespace, pair.Source.Workload, pair.Destination.Namespace, pair.Destination.Workload, series.Labels[0]], series.Value))));
    }

    private static IEnumerable<ObservedSeries> Totals(Traffic traffic, Func<TrafficCount, long> count) =>
        [new(["mutual_tls"], count(traffic.MutualTls)), new(["unknown"], count(traffic.Plaintext))];
}
