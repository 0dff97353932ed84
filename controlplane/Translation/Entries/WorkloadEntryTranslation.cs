using System.Net;
using AmbientMesh.Kubernetes;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.ControlPlane.Translation.Entries;

/// <summary>Workloads that are no pods: WorkloadEntries, and endpoints written into a ServiceEntry (reference 4.8; l7 reference 4.4). Pure.</summary>
internal static class WorkloadEntryTranslation
{
    private const string SocketScheme = "unix://";

    /// <summary>Whether the mesh can carry connections there; sockets of a file system it cannot.</summary>
    public static bool IsReachable(WorkloadEntrySpec spec) => spec.Address is { Length: > 0 } address && !address.StartsWith(SocketScheme, StringComparison.Ordinal);

    /// <summary>Labels of the object count before those of the spec.</summary>
    public static IReadOnlyDictionary<string, string> LabelsOf(WorkloadEntry entry)
    {
        if (entry.Spec.Labels.Count == 0) return entry.Metadata.Labels;
        var labels = new Dictionary<string, string>(entry.Spec.Labels, StringComparer.Ordinal);
        foreach (var (name, value) in entry.Metadata.Labels) labels[name] = value;
        return labels;
    }

    /// <param name="entry">For whose spec <see cref="IsReachable"/> holds.</param>
    /// <param name="services">It is a member of.</param>
    public static Wds.Workload Translate(MeshScope scope, string network, WorkloadEntry entry, IEnumerable<TranslatedService> services) =>
        Workload(scope, network, scope.WorkloadEntryUid(entry.Namespace, entry.Name), entry.Metadata, LabelsOf(entry), entry.Spec, services);

    /// <summary>One workload per endpoint of a ServiceEntry. They have the labels of the ServiceEntry.</summary>
    /// <param name="services">The hosts that are the entry's own, see <see cref="HostOwnership"/>; none makes no endpoint.</param>
    public static IEnumerable<Wds.Workload> OfEndpoints(MeshScope scope, string network, ServiceEntry entry, IReadOnlyList<TranslatedService> services)
    {
        if (services.Count == 0 || entry.Spec.Resolution is null or "NONE") yield break;
        if (ServiceEntryTranslation.ResolvesItsHosts(entry))
        {
            foreach (var service in services.Where(s => !ServiceEntryTranslation.IsWildcard(s.Message.Hostname)))   // nobody can resolve a wildcard without knowing what stands for it
                yield return Endpoint(scope, network, entry, new WorkloadEntrySpec { Address = service.Message.Hostname }, 0, [service]);
            yield break;
        }
        var seen = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var endpoint in (entry.Spec.Endpoints ?? []).Where(IsReachable))
        {
            var copies = seen[endpoint.Address!] = seen.GetValueOrDefault(endpoint.Address!) + 1;
            yield return Endpoint(scope, network, entry, endpoint, copies - 1, services);
        }
    }

    // One address may be listed again with other ports: that is another endpoint.
    private static Wds.Workload Endpoint(MeshScope scope, string network, ServiceEntry entry, WorkloadEntrySpec spec, int copy, IEnumerable<TranslatedService> services) =>
        Workload(scope, network, scope.ServiceEntryEndpointUid(entry.Namespace, entry.Name, copy == 0 ? spec.Address! : $"{spec.Address}#{copy}"), entry.Metadata, entry.Metadata.Labels, spec, services);

    private static Wds.Workload Workload(
        MeshScope scope, string network, string uid, ObjectMeta metadata, IReadOnlyDictionary<string, string> labels, WorkloadEntrySpec spec, IEnumerable<TranslatedService> services)
    {
        var name = metadata.Name ?? "";
        var workload = new Wds.Workload
        {
            Uid = uid,
            Name = name,
            Namespace = metadata.Namespace ?? "",
            ClusterId = scope.ClusterId,
            Network = spec.Network is { Length: > 0 } other ? other : network,
            TrustDomain = scope.WireTrustDomain,
            ServiceAccount = spec.ServiceAccount ?? "",
            Locality = LocalityOf(spec.Locality),
            WorkloadType = Wds.WorkloadType.Pod,
            WorkloadName = WorkloadName.Given(labels) ?? name,
            CanonicalName = WorkloadName.Canonical(labels, name),
            CanonicalRevision = WorkloadName.CanonicalRevision(labels),
            Status = Wds.WorkloadStatus.Healthy,
            Capacity = spec.Weight is > 0 and var weight ? weight : null,
        };
        if (IPAddress.TryParse(spec.Address, out _)) workload.Addresses.Add(WireAddress.Of(WireAddress.Parse(spec.Address, $"{metadata.Namespace}/{name}")));
        else workload.Hostname = spec.Address!.TrimEnd('.');
        TunnelChoice.Apply(workload, labels, metadata.Annotations);
        foreach (var service in services) workload.Services[service.ResourceName] = PortsOf(spec.Ports, service, $"{metadata.Namespace}/{name}");
        return workload;
    }

    // A Service's named target has to be listed; a ServiceEntry's port is only changed by being listed under its name.
    private static Wds.PortList PortsOf(IReadOnlyDictionary<string, uint>? listed, TranslatedService service, string owner)
    {
        var list = new Wds.PortList();
        foreach (var port in service.Ports)
        {
            uint? target = service.IsEntry ? Listed(port.Name) ?? port.TargetNumber : port.TargetName is { } name ? Listed(name) : Listed(port.Name) ?? port.TargetNumber;
            if (target is { } number) list.Ports.Add(new Wds.Port { ServicePort = port.Number, TargetPort = WirePort.Of(number, owner) });
        }
        return list;

        uint? Listed(string name) => listed is not null && listed.TryGetValue(name, out var number) ? number : null;
    }

    /// <summary><c>region/zone/subzone</c>, the later parts optional.</summary>
    private static Wds.Locality? LocalityOf(string? text)
    {
        if (string.IsNullOrEmpty(text)) return null;
        var parts = text.Split('/', 3);
        return new Wds.Locality { Region = parts[0], Zone = parts.Length > 1 ? parts[1] : "", Subzone = parts.Length > 2 ? parts[2] : "" };
    }
}
