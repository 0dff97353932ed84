using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using AmbientMesh.Model.Authorization;

namespace AmbientMesh.Model;

/// <summary>Everything a proxy knows of the mesh at one moment. Immutable: a decision takes it once and never sees two versions.</summary>
/// <remarks>Lookups follow L4 reference §10.1. Built by <see cref="MeshEdit"/>, published by <see cref="MeshStore"/>.</remarks>
public sealed class MeshSnapshot
{
    public static MeshSnapshot Empty { get; } = new();

    internal ImmutableDictionary<string, Workload> ByUid { get; init; } = ImmutableDictionary<string, Workload>.Empty.WithComparers(StringComparer.Ordinal);
    internal ImmutableDictionary<NetworkAddress, ImmutableArray<Workload>> ByAddress { get; init; } = ImmutableDictionary<NetworkAddress, ImmutableArray<Workload>>.Empty;
    internal ImmutableDictionary<PodKey, ImmutableArray<Workload>> ByPod { get; init; } = ImmutableDictionary<PodKey, ImmutableArray<Workload>>.Empty;
    internal ImmutableDictionary<ServiceName, ImmutableArray<Workload>> ByHostname { get; init; } = ImmutableDictionary<ServiceName, ImmutableArray<Workload>>.Empty;
    internal ImmutableDictionary<ServiceName, MeshService> ServicesByName { get; init; } = ImmutableDictionary<ServiceName, MeshService>.Empty;
    internal ImmutableDictionary<string, ImmutableArray<MeshService>> ServicesByHostname { get; init; } = ImmutableDictionary<string, ImmutableArray<MeshService>>.Empty.WithComparers(StringComparer.Ordinal);
    internal ImmutableDictionary<NetworkAddress, ImmutableArray<MeshService>> ServicesByVip { get; init; } = ImmutableDictionary<NetworkAddress, ImmutableArray<MeshService>>.Empty;
    internal ImmutableArray<(NetworkCidr Range, MeshService Service)> ServicesByRange { get; init; } = [];

    /// <summary>Endpoints by service, also of services not received yet ("staged"): they count from the moment the service arrives.</summary>
    internal ImmutableDictionary<ServiceName, ImmutableDictionary<string, Endpoint>> EndpointsByService { get; init; } = ImmutableDictionary<ServiceName, ImmutableDictionary<string, Endpoint>>.Empty;
    internal ImmutableDictionary<PolicyName, AuthorizationPolicy> PoliciesByName { get; init; } = ImmutableDictionary<PolicyName, AuthorizationPolicy>.Empty;
    internal ImmutableDictionary<string, ImmutableArray<AuthorizationPolicy>> PoliciesByNamespace { get; init; } = ImmutableDictionary<string, ImmutableArray<AuthorizationPolicy>>.Empty.WithComparers(StringComparer.Ordinal);

    public ImmutableArray<AuthorizationPolicy> GlobalPolicies { get; internal init; } = [];

    /// <summary>Identities of HBONE workloads on the local node and how many have each; certificates are fetched ahead for these.</summary>
    public ImmutableDictionary<SpiffeId, int> LocalIdentities { get; internal init; } = ImmutableDictionary<SpiffeId, int>.Empty;

    public IEnumerable<Workload> Workloads => ByUid.Values;
    public IEnumerable<MeshService> Services => ServicesByName.Values;
    public IEnumerable<AuthorizationPolicy> Policies => PoliciesByName.Values;
    public int WorkloadCount => ByUid.Count;
    public int ServiceCount => ServicesByName.Count;
    public int PolicyCount => PoliciesByName.Count;

    /// <summary>Whether the policies are the very same as in <paramref name="other"/>.</summary>
    public bool HasSamePolicies(MeshSnapshot other) => ReferenceEquals(PoliciesByName, other.PoliciesByName);

    public Workload? FindWorkload(string uid) => ByUid.GetValueOrDefault(uid);

    /// <summary>The best workload with that address; host-network workloads have none.</summary>
    public Workload? FindWorkload(NetworkAddress address)
    {
        if (!ByAddress.TryGetValue(address, out var candidates)) return null;
        var best = candidates[0];
        foreach (var candidate in candidates)
            if (candidate.AddressRank > best.AddressRank) best = candidate;
        return best;
    }

    /// <summary>The workload of a pod on this node: same name, namespace and service account.</summary>
    public Workload? FindWorkload(WorkloadInfo pod)
    {
        if (!ByPod.TryGetValue(new PodKey(pod.Namespace, pod.Name), out var candidates)) return null;
        foreach (var candidate in candidates)
            if (candidate.ServiceAccount == pod.ServiceAccount) return candidate;
        return null;
    }

    /// <summary>The workload of a pod whose service account is not known; null when there is none of that name.</summary>
    public Workload? FindPod(string @namespace, string name) => ByPod.TryGetValue(new PodKey(@namespace, name), out var candidates) ? candidates[0] : null;

    /// <summary>A workload that is reached by hostname.</summary>
    public Workload? FindWorkloadByHostname(ServiceName name) => ByHostname.TryGetValue(name, out var candidates) ? candidates[0] : null;

    public MeshService? FindService(ServiceName name) => ServicesByName.GetValueOrDefault(name);

    /// <summary>The service of a virtual address as a client of <paramref name="clientNamespace"/> sees it: exact VIPs first, then ranges.</summary>
    public MeshService? FindService(NetworkAddress vip, string clientNamespace)
    {
        if (ServicesByVip.TryGetValue(vip, out var owners) && Preferred(owners, clientNamespace, null) is { } exact) return exact;
        return FindByRange(vip, clientNamespace);
    }

    /// <summary>The service of a hostname: the client's namespace, then the canonical one, then <paramref name="preferredNamespace"/>, then the first.</summary>
    /// <param name="counts">Leaves services out as if they were not there; null leaves out none.</param>
    public MeshService? FindService(string hostname, string clientNamespace, string? preferredNamespace, Func<MeshService, bool>? counts = null) =>
        ServicesByHostname.TryGetValue(hostname, out var candidates) ? Preferred(candidates, clientNamespace, preferredNamespace, counts) : null;

    /// <summary>What an address belongs to: a workload before a service.</summary>
    public (Workload? Workload, MeshService? Service) Find(NetworkAddress address, string clientNamespace) =>
        FindWorkload(address) is { } workload ? (workload, null) : (null, FindService(address, clientNamespace));

    /// <summary>The endpoints traffic may go to: the healthy ones, or all where the service says so.</summary>
    public IEnumerable<Endpoint> Endpoints(MeshService service) => AllEndpoints(service.Key).Where(endpoint => MayServe(service, endpoint));

    /// <summary>Every endpoint of a service, whatever its health.</summary>
    public IEnumerable<Endpoint> AllEndpoints(ServiceName service) => EndpointArray(service);

    // A tree is slow to walk, and a large service is walked for each connection to it: the walk is kept until an endpoint changes.
    private static readonly ConditionalWeakTable<ImmutableDictionary<string, Endpoint>, Endpoint[]> Walked = [];

    /// <summary>How many endpoints a service has, whatever their health.</summary>
    public int CountEndpoints(ServiceName service) => EndpointsByService.TryGetValue(service, out var endpoints) ? endpoints.Count : 0;

    internal Endpoint[] EndpointArray(ServiceName service) =>
        EndpointsByService.TryGetValue(service, out var endpoints) ? Walked.GetValue(endpoints, static e => [.. e.Values]) : [];

    internal static bool MayServe(MeshService service, Endpoint endpoint) => endpoint.Workload.IsHealthy || service.LoadBalancing.AllowsUnhealthy;

    /// <summary>The endpoint a workload is for a service, whatever its health; null when it is none.</summary>
    public Endpoint? FindEndpoint(ServiceName service, string uid) =>
        EndpointsByService.TryGetValue(service, out var endpoints) ? endpoints.GetValueOrDefault(uid) : null;

    /// <summary>Services workloads speak of and that have not been received.</summary>
    public IEnumerable<(ServiceName Service, IEnumerable<Endpoint> Endpoints)> StagedServices =>
        EndpointsByService.Where(pair => !ServicesByName.ContainsKey(pair.Key)).Select(pair => (pair.Key, pair.Value.Values));

    public AuthorizationPolicy? FindPolicy(PolicyName name) => PoliciesByName.GetValueOrDefault(name);

    public ImmutableArray<AuthorizationPolicy> NamespacePolicies(string @namespace) => PoliciesByNamespace.GetValueOrDefault(@namespace, []);

    private static MeshService? Preferred(ImmutableArray<MeshService> candidates, string clientNamespace, string? preferredNamespace, Func<MeshService, bool>? counts = null)
    {
        MeshService? best = null;
        var bestRank = -1;
        foreach (var candidate in candidates)
        {
            if (!candidate.IsVisibleTo(clientNamespace) || counts?.Invoke(candidate) == false) continue;
            var rank = candidate.Namespace == clientNamespace ? 3 : candidate.IsCanonical ? 2 : candidate.Namespace == preferredNamespace ? 1 : 0;
            if (rank > bestRank) (best, bestRank) = (candidate, rank);
        }
        return best;
    }

    private MeshService? FindByRange(NetworkAddress address, string clientNamespace)
    {
        MeshService? best = null;
        (bool SameNamespace, int Prefix, bool Canonical) bestRank = default;
        foreach (var (range, service) in ServicesByRange)
        {
            if (!service.IsVisibleTo(clientNamespace) || !range.Contains(address)) continue;
            var rank = (service.Namespace == clientNamespace, range.Range.PrefixLength, service.IsCanonical);
            if (best is null || rank.CompareTo(bestRank) > 0) (best, bestRank) = (service, rank);
        }
        return best;
    }
}

/// <summary>A workload in its role behind a service, with the ports it has for it.</summary>
public sealed record Endpoint(Workload Workload, PortMap Ports)
{
    /// <summary>The endpoint's own port for a service port; null when it names none.</summary>
    public ushort? TargetPort(ushort servicePort) => Ports.Target(servicePort) is { } port and > 0 ? port : null;
}

internal readonly record struct PodKey(string Namespace, string Name);
