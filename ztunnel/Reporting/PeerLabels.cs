using System.Runtime.CompilerServices;
using AmbientMesh.Model;
using AmbientMesh.Ztunnel.Connections;

namespace AmbientMesh.Ztunnel.Reporting;

/// <summary>What logs and metrics say of one end of a connection; empty parts are unknown.</summary>
/// <param name="LogName">The pod's own name, as the access log has it.</param>
/// <param name="Workload">The controller's name, as metrics have it.</param>
public sealed record PeerLabels(
    string LogName, string Workload, string Namespace, string CanonicalService, string CanonicalRevision, string App, string Version, string Cluster, string Region, string Zone)
{
    private static readonly ConditionalWeakTable<Workload, PeerLabels> Known = [];

    /// <summary>The same object for each version of a workload.</summary>
    public static PeerLabels Of(Workload workload) => Known.TryGetValue(workload, out var known) ? known : Known.GetValue(workload, static workload => new PeerLabels(
        workload.Name, workload.WorkloadName, workload.Namespace, workload.CanonicalName, workload.CanonicalRevision, workload.CanonicalName, workload.CanonicalRevision,
        workload.ClusterId, workload.Locality.Region, workload.Locality.Zone));

    /// <summary>From what the peer says of itself; null when it says nothing.</summary>
    public static PeerLabels? Of(Baggage baggage) => baggage == new Baggage() ? null : new(
        baggage.WorkloadName, baggage.WorkloadName, baggage.Namespace, baggage.ServiceName, baggage.ServiceVersion, baggage.WorkloadName, baggage.ServiceVersion,
        baggage.Cluster, baggage.Region, baggage.Zone);
}
