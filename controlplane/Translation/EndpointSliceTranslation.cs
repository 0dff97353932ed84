using AmbientMesh.Kubernetes;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.ControlPlane.Translation;

/// <summary>Endpoints that are no pods, as of a selector-less Service or of the Kubernetes API itself (reference 4.8, "EndpointSlice workloads"). Pure.</summary>
internal static class EndpointSliceTranslation
{
    /// <summary>The Service the slice belongs to; null when it belongs to none.</summary>
    public static ObjectKey? ServiceOf(EndpointSlice slice) =>
        slice.Metadata.Labels.TryGetValue(EndpointSlice.ServiceNameLabel, out var name) && name.Length > 0 ? new ObjectKey(slice.Namespace, name) : null;

    /// <summary>One workload per endpoint that is no pod. Nothing is known of it but its address, which others may share: hence HOST_NETWORK.</summary>
    /// <exception cref="FormatException">An endpoint's address is not an IP address, or a port is none.</exception>
    public static IEnumerable<Wds.Workload> Translate(MeshScope scope, string network, EndpointSlice slice, TranslatedService service)
    {
        if (slice.AddressType == "FQDN") return [];
        var ports = PortsOf(slice, service);
        return slice.Endpoints
            .Where(e => e.TargetRef?.Kind != "Pod" && e.Addresses.Count > 0)
            .DistinctBy(e => e.Addresses[0])   // one address per endpoint is all Kubernetes uses
            .Select(e => Workload(scope, network, slice, e, service.ResourceName, ports));
    }

    /// <summary>The pods the slice lists as endpoints.</summary>
    public static IEnumerable<ObjectKey> PodsOf(EndpointSlice slice) =>
        slice.Endpoints
            .Where(e => e.TargetRef is { Kind: "Pod", Name.Length: > 0 })
            .Select(e => new ObjectKey(string.IsNullOrEmpty(e.TargetRef!.Namespace) ? slice.Namespace : e.TargetRef.Namespace, e.TargetRef.Name!))
            .Where(pod => pod.Namespace == slice.Namespace);   // an endpoint in another namespace would lend it this service's traffic

    private static Wds.Workload Workload(MeshScope scope, string network, EndpointSlice slice, Endpoint endpoint, string service, Wds.PortList ports)
    {
        var address = WireAddress.Parse(endpoint.Addresses[0], $"EndpointSlice {slice.Key}");
        return new Wds.Workload
        {
            Uid = scope.EndpointUid(slice.Namespace, slice.Name, endpoint.Addresses[0]),
            Name = slice.Name,
            Namespace = slice.Namespace,
            ClusterId = scope.ClusterId,
            Network = network,
            TrustDomain = scope.WireTrustDomain,
            NetworkMode = Wds.NetworkMode.HostNetwork,
            Status = endpoint.Conditions.Ready == false ? Wds.WorkloadStatus.Unhealthy : Wds.WorkloadStatus.Healthy,
            Addresses = { WireAddress.Of(address) },
            Services = { [service] = ports.Clone() },
        };
    }

    // A slice names the service's port and gives the number at the endpoint.
    private static Wds.PortList PortsOf(EndpointSlice slice, TranslatedService service)
    {
        var list = new Wds.PortList();
        foreach (var port in slice.Ports)
        {
            if (port.Port is not { } target || port.Protocol is not (null or "" or "TCP")) continue;
            foreach (var member in service.Ports.Where(m => m.Name == (port.Name ?? "")).Take(1))
                list.Ports.Add(new Wds.Port { ServicePort = member.Number, TargetPort = WirePort.Of(target, $"EndpointSlice {slice.Key}") });
        }
        return list;
    }
}
