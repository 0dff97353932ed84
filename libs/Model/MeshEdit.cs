using System.Collections.Immutable;
using AmbientMesh.Model.Authorization;

namespace AmbientMesh.Model;

/// <summary>A batch of changes to a snapshot, made by the one writer; costs follow what changes, not what is there. Not thread-safe.</summary>
public sealed class MeshEdit
{
    private readonly MeshSnapshot _from;
    private readonly string _localNode;
    private readonly ImmutableDictionary<string, Workload>.Builder _byUid;
    private readonly ImmutableDictionary<NetworkAddress, ImmutableArray<Workload>>.Builder _byAddress;
    private readonly ImmutableDictionary<PodKey, ImmutableArray<Workload>>.Builder _byPod;
    private readonly ImmutableDictionary<ServiceName, ImmutableArray<Workload>>.Builder _byHostname;
    private readonly ImmutableDictionary<ServiceName, MeshService>.Builder _services;
    private readonly ImmutableDictionary<string, ImmutableArray<MeshService>>.Builder _servicesByHostname;
    private readonly ImmutableDictionary<NetworkAddress, ImmutableArray<MeshService>>.Builder _servicesByVip;
    private readonly ImmutableDictionary<ServiceName, ImmutableDictionary<string, Endpoint>>.Builder _endpoints;
    private readonly ImmutableDictionary<PolicyName, AuthorizationPolicy>.Builder _policies;
    private readonly ImmutableDictionary<string, ImmutableArray<AuthorizationPolicy>>.Builder _policiesByNamespace;
    private readonly ImmutableDictionary<SpiffeId, int>.Builder _localIdentities;
    private ImmutableArray<(NetworkCidr Range, MeshService Service)> _ranges;
    private ImmutableArray<AuthorizationPolicy> _global;

    /// <summary>Starts from a snapshot; identities on <paramref name="localNode"/> are counted (empty for none).</summary>
    internal MeshEdit(MeshSnapshot from, string localNode)
    {
        _from = from;
        _localNode = localNode;
        _byUid = from.ByUid.ToBuilder();
        _byAddress = from.ByAddress.ToBuilder();
        _byPod = from.ByPod.ToBuilder();
        _byHostname = from.ByHostname.ToBuilder();
        _services = from.ServicesByName.ToBuilder();
        _servicesByHostname = from.ServicesByHostname.ToBuilder();
        _servicesByVip = from.ServicesByVip.ToBuilder();
        _endpoints = from.EndpointsByService.ToBuilder();
        _policies = from.PoliciesByName.ToBuilder();
        _policiesByNamespace = from.PoliciesByNamespace.ToBuilder();
        _localIdentities = from.LocalIdentities.ToBuilder();
        _ranges = from.ServicesByRange;
        _global = from.GlobalPolicies;
    }

    /// <summary>Adds a workload, or puts it in place of the one with its uid.</summary>
    public void Set(Workload workload)
    {
        if (_byUid.TryGetValue(workload.Uid, out var old)) Detach(old);
        _byUid[workload.Uid] = workload;
        if (!workload.IsHostNetwork)
            foreach (var address in workload.Addresses) Append(_byAddress, new NetworkAddress(workload.Network, address), workload);
        Append(_byPod, PodKeyOf(workload), workload);
        if (workload.Hostname.Length > 0) Append(_byHostname, new ServiceName(workload.Namespace, workload.Hostname), workload);
        foreach (var (service, ports) in workload.Services)
            _endpoints[service] = _endpoints.GetValueOrDefault(service, ImmutableDictionary<string, Endpoint>.Empty).SetItem(workload.Uid, new Endpoint(workload, ports));
        CountIdentity(workload, +1);
    }

    /// <summary>Adds a service, or puts it in place of the one with its key; its endpoints stay.</summary>
    public void Set(MeshService service)
    {
        _services.TryGetValue(service.Key, out var old);
        if (old is not null) Unlist(old, keep: service);
        _services[service.Key] = service;
        Replace(_servicesByHostname, service.Hostname, old, service);
        foreach (var vip in service.Vips) Replace(_servicesByVip, vip, old, service);
        foreach (var range in service.CidrVips) _ranges = _ranges.Add((range, service));
    }

    /// <summary>Adds a policy, or puts it in place of the one with its name.</summary>
    public void Set(AuthorizationPolicy policy)
    {
        RemovePolicy(policy.Key);
        _policies[policy.Key] = policy;
        if (policy.Scope == PolicyScope.Namespace) Append(_policiesByNamespace, policy.Key.Namespace, policy);
        if (policy.Scope == PolicyScope.Global) _global = _global.Add(policy);
    }

    /// <summary>Removes what has this resource name: a workload's uid first, else a service's key. False when nothing has.</summary>
    public bool RemoveAddress(string name)
    {
        if (_byUid.TryGetValue(name, out var workload))
        {
            _byUid.Remove(name);
            Detach(workload);
            return true;
        }
        if (!ServiceName.TryParse(name, out var key) || !_services.TryGetValue(key, out var service)) return false;
        Unlist(service, keep: null);
        _services.Remove(key);
        return true;
    }

    /// <summary>The policy as edited so far; null when there is none.</summary>
    public AuthorizationPolicy? FindPolicy(PolicyName name) => _policies.GetValueOrDefault(name);

    public bool RemovePolicy(PolicyName name)
    {
        if (!_policies.TryGetValue(name, out var policy)) return false;
        _policies.Remove(name);
        if (policy.Scope == PolicyScope.Namespace) Drop(_policiesByNamespace, name.Namespace, policy);
        if (policy.Scope == PolicyScope.Global) _global = _global.Remove(policy);
        return true;
    }

    internal MeshSnapshot Build()
    {
        var next = new MeshSnapshot
        {
            ByUid = _byUid.ToImmutable(),
            ByAddress = _byAddress.ToImmutable(),
            ByPod = _byPod.ToImmutable(),
            ByHostname = _byHostname.ToImmutable(),
            ServicesByName = _services.ToImmutable(),
            ServicesByHostname = _servicesByHostname.ToImmutable(),
            ServicesByVip = _servicesByVip.ToImmutable(),
            ServicesByRange = _ranges,
            EndpointsByService = _endpoints.ToImmutable(),
            PoliciesByName = _policies.ToImmutable(),
            PoliciesByNamespace = _policiesByNamespace.ToImmutable(),
            GlobalPolicies = _global,
            LocalIdentities = _localIdentities.ToImmutable(),
        };
        var same = ReferenceEquals(next.ByUid, _from.ByUid) && ReferenceEquals(next.ServicesByName, _from.ServicesByName) && next.HasSamePolicies(_from);
        return same ? _from : next;
    }

    private void Detach(Workload workload)
    {
        if (!workload.IsHostNetwork)
            foreach (var address in workload.Addresses) Drop(_byAddress, new NetworkAddress(workload.Network, address), workload);
        Drop(_byPod, PodKeyOf(workload), workload);
        if (workload.Hostname.Length > 0) Drop(_byHostname, new ServiceName(workload.Namespace, workload.Hostname), workload);
        foreach (var (service, _) in workload.Services) DropEndpoint(service, workload.Uid);
        CountIdentity(workload, -1);
    }

    private void DropEndpoint(ServiceName service, string uid)
    {
        if (!_endpoints.TryGetValue(service, out var endpoints)) return;
        endpoints = endpoints.Remove(uid);
        if (endpoints.IsEmpty) _endpoints.Remove(service);
        else _endpoints[service] = endpoints;
    }

    /// <summary>Takes a service out of the indexes, except where <paramref name="keep"/> will take its very place.</summary>
    private void Unlist(MeshService service, MeshService? keep)
    {
        if (keep is null) Drop(_servicesByHostname, service.Hostname, service);
        foreach (var vip in service.Vips)
            if (keep is null || !keep.Vips.Contains(vip)) Drop(_servicesByVip, vip, service);
        if (!service.CidrVips.IsEmpty) _ranges = _ranges.RemoveAll(entry => ReferenceEquals(entry.Service, service));
    }

    private void CountIdentity(Workload workload, int change)
    {
        if (_localNode.Length == 0 || workload.Node != _localNode || !(workload.SpeaksHbone || workload.NativeTunnel)) return;
        var count = _localIdentities.GetValueOrDefault(workload.Identity) + change;
        if (count > 0) _localIdentities[workload.Identity] = count;
        else _localIdentities.Remove(workload.Identity);
    }

    private static PodKey PodKeyOf(Workload workload) => new(workload.Namespace, workload.Name);

    private static void Append<TKey, T>(ImmutableDictionary<TKey, ImmutableArray<T>>.Builder index, TKey key, T value) where TKey : notnull
    {
        var list = index.GetValueOrDefault(key, []);
        if (!list.Contains(value)) index[key] = list.Add(value);
    }

    private static void Drop<TKey, T>(ImmutableDictionary<TKey, ImmutableArray<T>>.Builder index, TKey key, T value) where TKey : notnull
    {
        if (!index.TryGetValue(key, out var list)) return;
        list = list.Remove(value);
        if (list.IsEmpty) index.Remove(key);
        else index[key] = list;
    }

    /// <summary>Puts a service where its older self stood, so that "first" stays what it was; else at the end.</summary>
    private static void Replace<TKey>(ImmutableDictionary<TKey, ImmutableArray<MeshService>>.Builder index, TKey key, MeshService? old, MeshService service) where TKey : notnull
    {
        var list = index.GetValueOrDefault(key, []);
        var at = old is null ? -1 : list.IndexOf(old);
        if (at >= 0) index[key] = list.SetItem(at, service);
        else Append(index, key, service);
    }
}
