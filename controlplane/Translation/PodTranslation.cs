using AmbientMesh.Kubernetes;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.ControlPlane.Translation;

/// <summary>A pod as the mesh sees it (reference 4.7 and 4.8). Pure: what it depends on is its arguments.</summary>
internal static class PodTranslation
{
    /// <summary>Whether the mesh has a use for the pod: it has an address and has not ended.</summary>
    public static bool IsWorkload(Pod pod) => pod.Status.Phase is not ("Succeeded" or "Failed") && Addresses(pod).Any();

    /// <param name="scope">The cluster it is in.</param>
    /// <param name="network">The cluster's network.</param>
    /// <param name="pod">For which <see cref="IsWorkload"/> holds.</param>
    /// <param name="node">Locality of its node; null while the node is unknown.</param>
    /// <param name="services">The services it is a member of, whether by selector or by a hand-made slice.</param>
    /// <exception cref="FormatException">An address of the pod is not an IP address, or a port is none.</exception>
    public static Wds.Workload Translate(MeshScope scope, string network, Pod pod, NodeLocality? node, IEnumerable<TranslatedService> services)
    {
        var labels = pod.Metadata.Labels;
        var name = WorkloadName.Of(pod);
        var workload = new Wds.Workload
        {
            Uid = scope.PodUid(pod.Namespace, pod.Name),
            Name = pod.Name,
            Namespace = pod.Namespace,
            ClusterId = scope.ClusterId,
            Network = network,
            TrustDomain = scope.WireTrustDomain,
            ServiceAccount = pod.Spec.ServiceAccountName ?? "",
            Node = pod.Spec.NodeName ?? "",
            Locality = node?.ToWire(),
            WorkloadType = Wds.WorkloadType.Pod,
            WorkloadName = name,
            CanonicalName = WorkloadName.Canonical(labels, name),
            CanonicalRevision = WorkloadName.CanonicalRevision(labels),
            NetworkMode = pod.Spec.HostNetwork == true ? Wds.NetworkMode.HostNetwork : Wds.NetworkMode.Standard,
            Status = pod.Is("Ready") && pod.Metadata.DeletionTimestamp is null ? Wds.WorkloadStatus.Healthy : Wds.WorkloadStatus.Unhealthy,
        };
        TunnelChoice.Apply(workload, labels, pod.Metadata.Annotations);
        foreach (var address in Addresses(pod)) workload.Addresses.Add(WireAddress.Of(WireAddress.Parse(address, $"Pod {pod.Key}")));
        foreach (var service in services) workload.Services[service.ResourceName] = PortsOf(pod, service);
        return workload;
    }

    private static IEnumerable<string> Addresses(Pod pod) =>
        pod.Status.PodIPs.Count > 0 ? pod.Status.PodIPs.Select(a => a.Ip).Where(ip => ip.Length > 0)
        : string.IsNullOrEmpty(pod.Status.PodIP) ? []
        : [pod.Status.PodIP];

    // A named target the pod does not declare is left out: the pod stays a member but is never chosen for that port (L4-044).
    private static Wds.PortList PortsOf(Pod pod, TranslatedService service)
    {
        var list = new Wds.PortList();
        foreach (var port in service.Ports)
            if (TargetOf(pod, service, port) is { } target)
                list.Ports.Add(new Wds.Port { ServicePort = port.Number, TargetPort = target });
        return list;
    }

    // A ServiceEntry names no targets: a container port of its port's name is meant, if there is one (l7 reference 4.3).
    private static uint? TargetOf(Pod pod, TranslatedService service, MemberPort port) =>
        service.IsEntry ? NumberOf(pod, port.Name) ?? port.TargetNumber : port.TargetName is null ? port.TargetNumber : NumberOf(pod, port.TargetName);

    /// <summary>The number of the TCP container port of that name; sidecars among the init containers count.</summary>
    private static uint? NumberOf(Pod pod, string portName)
    {
        var containers = pod.Spec.Containers.Concat(pod.Spec.InitContainers.Where(c => c.RestartPolicy == "Always"));
        foreach (var port in containers.SelectMany(c => c.Ports))
            if (port.Name == portName && port.Protocol is null or "" or "TCP") return WirePort.Of(port.Port, $"Pod {pod.Key}");
        return null;
    }
}
