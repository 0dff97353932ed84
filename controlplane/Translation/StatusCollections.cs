using AmbientMesh.ControlPlane.Collections;
using AmbientMesh.ControlPlane.Translation.Entries;
using AmbientMesh.ControlPlane.Translation.Waypoints;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation;

/// <summary>What Services, ServiceEntries and WorkloadEntries are to say about themselves. Policies have reports of their own.</summary>
/// <remarks>Belongs to the thread of its graph.</remarks>
public sealed class StatusCollections
{
    private const string ServiceManager = "istio-ambient-service";
    private const string WorkloadEntryManager = "istio-ambient-workloadentry";
    private static readonly string[] TypesOnServices = [WaypointReport.BoundType];
    private static readonly string[] TypesOnWorkloadEntries = [WaypointReport.BoundType, EntryReport.AcceptedType];

    internal StatusCollections(Collection<ObjectKey, Service> services, EntryCollections entries, WaypointCollections waypoints, Func<FetchContext, string> network)
    {
        Services = services.Map("service statuses", s => s.Key, (context, service) => StatusReport.Of(
            service, ServiceManager, TypesOnServices,
            service.Spec.Type == "ExternalName" ? [] : WaypointReport.Of(waypoints.ForService(context, service.Metadata, staysInNamespace: false), service.Metadata.Generation ?? 0, Ingress(context, service.Metadata)),
            StatusReport.PresentOn(service.Status)));
        ServiceEntries = entries.ServiceEntries.Map("service entry statuses", e => e.Key, (context, entry) =>
        {
            var visibility = entries.VisibilityOf(context, entry.Namespace);
            var choice = waypoints.ForService(context, entry.Metadata, visibility == EntryVisibility.Namespace);
            return StatusReport.Of(
                entry, ServiceManager, EntryReport.OwnTypes, EntryReport.Of(entry, choice, Ingress(context, entry.Metadata), visibility, entries.SharedWith(context, entry.Key), network(context)), StatusReport.PresentOn(entry.Status));
        });
        WorkloadEntries = entries.WorkloadEntries.Map("workload entry statuses", e => e.Key, (context, entry) => StatusReport.Of(
            entry, WorkloadEntryManager, TypesOnWorkloadEntries,
            EntryReport.Of(entry, waypoints.ForWorkload(context, entry.Namespace, WorkloadEntryTranslation.LabelsOf(entry)), network(context)), StatusReport.PresentOn(entry.Status)));

        bool Ingress(FetchContext context, ObjectMeta metadata) => waypoints.TakesIngress(context, metadata.Namespace ?? "", WaypointLabels.Of(metadata.Labels, metadata.Annotations));
    }

    public Collection<ObjectKey, StatusReport> Services { get; }
    public Collection<ObjectKey, StatusReport> ServiceEntries { get; }
    public Collection<ObjectKey, StatusReport> WorkloadEntries { get; }
}
