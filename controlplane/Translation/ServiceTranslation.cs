using AmbientMesh.Kubernetes;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.ControlPlane.Translation;

/// <summary>A Kubernetes Service as the mesh sees it (reference 4.7 and 4.8). Pure.</summary>
internal static class ServiceTranslation
{
    /// <param name="network">The cluster's network.</param>
    /// <param name="distribution">The namespace's wish, see <see cref="NamespaceFacts.Distribution"/>.</param>
    /// <returns>Null for what is no service to the mesh: an ExternalName is only a DNS alias.</returns>
    /// <exception cref="FormatException">A cluster IP is not an IP address, or a port is none.</exception>
    public static TranslatedService? Translate(MeshScope scope, string network, Service service, string distribution)
    {
        if (service.Spec.Type == "ExternalName") return null;
        var carried = service.Spec.Ports.Where(PortProtocol.IsCarried).ToList();
        return new TranslatedService
        {
            Key = service.Key,
            ResourceName = scope.ServiceResourceName(service.Name, service.Namespace),
            Message = Message(scope, network, service, carried, distribution),
            Ports = [.. carried.Select(port => Member(service, port))],
            Selector = service.Spec.Selector,
            Created = service.Metadata.CreationTimestamp ?? DateTimeOffset.MaxValue,
            Origin = ObjectOrigin.Of(service),
        };
    }

    private static Wds.Service Message(MeshScope scope, string network, Service service, IEnumerable<ServicePort> ports, string distribution)
    {
        var message = new Wds.Service
        {
            Name = service.Name,
            Namespace = service.Namespace,
            Hostname = scope.Hostname(service.Name, service.Namespace),
            IpFamilies = Families(service.Spec.IpFamilies),
            Canonical = true,
            LoadBalancing = LoadBalancingChoice.Of(service, distribution),
        };
        foreach (var address in VirtualAddresses(service))
            message.Addresses.Add(new Wds.NetworkAddress { Network = network, Address = WireAddress.Of(WireAddress.Parse(address, $"Service {service.Key}")) });
        foreach (var port in ports)
            message.Ports.Add(new Wds.Port { ServicePort = Member(service, port).Number, TargetPort = Member(service, port).TargetNumber, AppProtocol = PortProtocol.Of(port) });
        return message;
    }

    /// <summary>A target given by name is number 0: it may differ from pod to pod, so only workloads carry it.</summary>
    private static MemberPort Member(Service service, ServicePort port)
    {
        var owner = $"Service {service.Key}";
        var own = WirePort.Of(port.Port, owner);
        return port.TargetPort switch
        {
            { Text: { } name } => new MemberPort(own, port.Name ?? "", 0, name),
            { Number: > 0 and var number } => new MemberPort(own, port.Name ?? "", WirePort.Of(number, owner), null),
            _ => new MemberPort(own, port.Name ?? "", own, null),
        };
    }

    private static IEnumerable<string> VirtualAddresses(Service service)
    {
        IEnumerable<string> addresses = service.Spec.ClusterIPs.Count > 0 ? service.Spec.ClusterIPs : [service.Spec.ClusterIP ?? ""];
        return addresses.Where(a => a is not ("" or "None"));
    }

    private static Wds.IPFamilies Families(IReadOnlyList<string> families) => families switch
    {
        ["IPv4"] => Wds.IPFamilies.Ipv4Only,
        ["IPv6"] => Wds.IPFamilies.Ipv6Only,
        [_, _] => Wds.IPFamilies.Dual,
        _ => Wds.IPFamilies.Automatic,
    };
}
