using AmbientMesh.ControlPlane.Collections;
using AmbientMesh.ControlPlane.Settings;
using AmbientMesh.ControlPlane.Translation.Waypoints;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation.Entries;

/// <summary>From ServiceEntries to services: who claims which host, and whose it is.</summary>
/// <remarks>Belongs to the thread of its graph.</remarks>
public sealed class EntryCollections
{
    private readonly Collection<ObjectKey, Namespace> _namespaces;
    private readonly DerivedCollection<ObjectKey, ConfigMap, ObjectKey, EntryVisibilityRules> _visibility;
    private readonly ObjectKey _configuration;
    private readonly Index<string, ObjectKey, TranslatedService> _servicesByName;
    private readonly Index<string, ObjectKey, TranslatedService> _servicesByHost;
    private readonly Index<string, HostClaim, TranslatedService> _claimsByName;
    private readonly Index<ObjectKey, HostClaim, TranslatedService> _claimsByEntry;
    private readonly Index<string, string, TranslatedService> _winnersByHost;

    /// <param name="services">The Kubernetes Services.</param>
    internal EntryCollections(
        CollectionGraph graph, MeshScope scope, Collection<ObjectKey, Namespace> namespaces, Collection<ObjectKey, TranslatedService> services, WaypointCollections waypoints, Func<FetchContext, string> network)
    {
        _namespaces = namespaces;
        _configuration = new ObjectKey(scope.SystemNamespace, MeshConfiguration.ConfigMapName);
        Configuration = new(graph, "mesh configuration", SameVersion<ConfigMap>.Instance);
        ServiceEntries = new(graph, ServiceEntry.Type.Plural, SameVersion<ServiceEntry>.Instance);
        WorkloadEntries = new(graph, WorkloadEntry.Type.Plural, SameVersion<WorkloadEntry>.Instance);
        _visibility = Configuration.Map("entry visibility", map => map.Key, (_, map) => VisibilityConfiguration.Of(map));

        _servicesByName = services.IndexBy("by resource name", s => new[] { s.ResourceName });
        _servicesByHost = services.IndexBy("by host", s => new[] { s.Message.Hostname });
        Claims = ServiceEntries.MapMany("host claims", (TranslatedService s) => new HostClaim(s.ResourceName, s.Key), (context, entry) => VisibilityOf(context, entry.Namespace) switch
        {
            EntryVisibility.None => [],
            var visibility => ServiceEntryTranslation.Translate(network(context), entry, visibility ?? EntryVisibility.Public, waypoints.FactsOf(context, entry.Namespace).Distribution),
        });
        _claimsByName = Claims.IndexBy("by resource name", s => new[] { s.ResourceName });
        _claimsByEntry = Claims.IndexBy("by entry", s => new[] { s.Key });
        Winners = Claims.MapMany("entry services", (TranslatedService s) => s.ResourceName, (context, claim) => WinnerOf(context, claim.ResourceName) is { IsEntry: true } winner && winner.Key == claim.Key ? [claim] : []);
        _winnersByHost = Winners.IndexBy("by host", s => new[] { s.Message.Hostname });
    }

    /// <summary>The mesh configuration's ConfigMap, and no other.</summary>
    public SourceCollection<ObjectKey, ConfigMap> Configuration { get; }
    /// <summary>What the configuration says about who may find ServiceEntries; empty when it says nothing.</summary>
    public Collection<ObjectKey, EntryVisibilityRules> Visibility => _visibility;
    public SourceCollection<ObjectKey, ServiceEntry> ServiceEntries { get; }
    public SourceCollection<ObjectKey, WorkloadEntry> WorkloadEntries { get; }

    internal DerivedCollection<ObjectKey, ServiceEntry, HostClaim, TranslatedService> Claims { get; }

    /// <summary>The hosts that are a ServiceEntry's, by resource name.</summary>
    internal DerivedCollection<HostClaim, TranslatedService, string, TranslatedService> Winners { get; }

    /// <summary>Null when the mesh has no rules for it.</summary>
    internal EntryVisibility? VisibilityOf(FetchContext context, string ns) =>
        context.Get(_visibility, _configuration)?.Of(context.Get(_namespaces, new ObjectKey("", ns))?.Metadata.Labels ?? new Dictionary<string, string>());

    /// <summary>The hosts an entry has.</summary>
    internal IReadOnlyList<TranslatedService> OwnedBy(FetchContext context, ObjectKey entry) =>
        [.. context.Lookup(_claimsByEntry, entry).Where(claim => context.Get(Winners, claim.ResourceName)?.Key == claim.Key)];

    /// <summary>Whether an entry's host is what clients of all namespaces are led to.</summary>
    internal bool IsCanonical(FetchContext context, TranslatedService winner) => CanonicalOf(context, winner.Message.Hostname) is { IsEntry: true } canonical && canonical.Key == winner.Key;

    /// <summary>The hosts of an entry that others claim too and have instead of it, or beside it.</summary>
    internal IReadOnlyList<SharedHost> SharedWith(FetchContext context, ObjectKey entry)
    {
        var shared = new List<SharedHost>();
        foreach (var claim in context.Lookup(_claimsByEntry, entry))
        {
            var winner = WinnerOf(context, claim.ResourceName)!;
            if (winner.Key != claim.Key || !winner.IsEntry) shared.Add(new SharedHost(claim.Message.Hostname, winner.Origin, IsLost: true));
            else if (CanonicalOf(context, claim.Message.Hostname) is { } canonical && (canonical.Key != claim.Key || !canonical.IsEntry)) shared.Add(new SharedHost(claim.Message.Hostname, canonical.Origin, IsLost: false));
        }
        return shared;
    }

    /// <summary>The newest version of the object that made a service; null when no ServiceEntry did.</summary>
    internal ObjectOrigin? OriginOf(string resourceName) =>
        Winners.Find(resourceName) is { } winner ? Claims.Find(new HostClaim(resourceName, winner.Key))?.Origin : null;

    private TranslatedService? WinnerOf(FetchContext context, string resourceName)
    {
        var services = context.Lookup(_servicesByName, resourceName);
        var claims = context.Lookup(_claimsByName, resourceName);
        return services.Count + claims.Count == 0 ? null : HostOwnership.Winner(services, claims);
    }

    private TranslatedService? CanonicalOf(FetchContext context, string host) => HostOwnership.Canonical(context.Lookup(_servicesByHost, host), context.Lookup(_winnersByHost, host));
}
