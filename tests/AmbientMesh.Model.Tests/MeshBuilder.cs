using System.Net;
using AmbientMesh.Model.Decoding;
using Google.Protobuf;
using Wds = AmbientMesh.Protocol.Wds;
using Wire = AmbientMesh.Protocol.Security;

namespace AmbientMesh.Model.Tests;

/// <summary>Builds a mesh for a test from what matters to it, through the wire types and the decoding the product uses.</summary>
public sealed class MeshBuilder(string localNode = "")
{
    private readonly MeshStore _store = new(localNode);

    public MeshSnapshot Mesh => _store.Current;
    public MeshStore Store => _store;

    /// <summary>A pod <c>default/name</c> with service account = name, speaking HBONE.</summary>
    public MeshBuilder Pod(string name, string ip = "", string ns = "default", Action<Wds.Workload>? with = null)
    {
        _store.Edit(edit => edit.Set(PodOf(name, ip, ns, with)));
        return this;
    }

    public MeshBuilder Service(string name, string vips = "", string ports = "80:8080", string ns = "default", Action<Wds.Service>? with = null)
    {
        _store.Edit(edit => edit.Set(ServiceOf(name, vips, ports, ns, with)));
        return this;
    }

    public MeshBuilder Policy(string name, Wire.Action action, Wire.Scope scope, string ns = "default", bool dryRun = false, params Wire.Rule[] rules)
    {
        var wire = new Wire.Authorization { Name = name, Namespace = ns, Action = action, Scope = scope, DryRun = dryRun };
        wire.Rules.AddRange(rules);
        Assert.True(PolicyDecoding.TryDecode(wire, out var policy, out var reason), reason);
        _store.Edit(edit => edit.Set(policy));
        return this;
    }

    public Workload Find(string name, string ns = "default") => Mesh.FindWorkload(UidOf(name, ns)) ?? throw new InvalidOperationException($"no pod {ns}/{name}");

    public MeshService FindService(string name, string ns = "default") => Mesh.FindService(new ServiceName(ns, HostOf(name, ns)))!;

    public static string UidOf(string name, string ns = "default") => $"Kubernetes//Pod/{ns}/{name}";

    public static string HostOf(string name, string ns = "default") => name.Contains('.') ? name : $"{name}.{ns}.svc.cluster.local";

    public static Workload PodOf(string name, string ips, string ns = "default", Action<Wds.Workload>? with = null)
    {
        var wire = new Wds.Workload
        {
            Uid = UidOf(name, ns),
            Name = name,
            Namespace = ns,
            ServiceAccount = name,
            TunnelProtocol = Wds.TunnelProtocol.Hbone,
            Node = "n1",
            WorkloadName = name,
            WorkloadType = Wds.WorkloadType.Pod,
            CanonicalName = name,
            CanonicalRevision = "v1",
        };
        wire.Addresses.AddRange(Split(ips).Select(Bytes));
        with?.Invoke(wire);
        Assert.True(AddressDecoding.TryDecode(wire, out var workload, out var reason), reason);
        return workload;
    }

    public static MeshService ServiceOf(string name, string vips = "", string ports = "80:8080", string ns = "default", Action<Wds.Service>? with = null)
    {
        var wire = new Wds.Service { Name = name, Namespace = ns, Hostname = HostOf(name, ns), Canonical = true };
        foreach (var vip in Split(vips))
        {
            var prefix = vip.Split('/');
            var address = new Wds.NetworkAddress { Address = Bytes(prefix[0]) };
            if (prefix.Length > 1) address.Length = uint.Parse(prefix[1]);
            wire.Addresses.Add(address);
        }
        wire.Ports.AddRange(Ports(ports));
        with?.Invoke(wire);
        Assert.True(AddressDecoding.TryDecode(wire, out var service, out var reason), reason);
        return service;
    }

    /// <summary><c>80:8080,443:0</c> as wire ports.</summary>
    public static IEnumerable<Wds.Port> Ports(string ports) =>
        Split(ports).Select(p => p.Split(':')).Select(p => new Wds.Port { ServicePort = uint.Parse(p[0]), TargetPort = uint.Parse(p[1]) });

    public static Wds.GatewayAddress At(string ip, uint port = 15008, string network = "") =>
        new() { Address = new Wds.NetworkAddress { Network = network, Address = Bytes(ip) }, HboneMtlsPort = port };

    public static Wds.GatewayAddress Named(string hostname, string ns = "default", uint port = 15008) =>
        new() { Hostname = new Wds.NamespacedHostname { Namespace = ns, Hostname = HostOf(hostname, ns) }, HboneMtlsPort = port };

    public static ByteString Bytes(string ip) => ByteString.CopyFrom(IPAddress.Parse(ip).GetAddressBytes());

    private static string[] Split(string list) => list.Split(',', StringSplitOptions.RemoveEmptyEntries);
}

public static class WireExtensions
{
    /// <summary>Makes the pod an endpoint of a service, with its own ports where given.</summary>
    public static Wds.Workload Backs(this Wds.Workload pod, string service, string ports = "", string ns = "default")
    {
        var list = new Wds.PortList();
        list.Ports.AddRange(MeshBuilder.Ports(ports));
        pod.Services[$"{ns}/{MeshBuilder.HostOf(service, ns)}"] = list;
        return pod;
    }

    public static Wds.Workload In(this Wds.Workload pod, string region, string zone = "", string subzone = "")
    {
        pod.Locality = new Wds.Locality { Region = region, Zone = zone, Subzone = subzone };
        return pod;
    }

    public static Wds.Service Balanced(this Wds.Service service, Wds.LoadBalancing.Types.Mode mode, params Wds.LoadBalancing.Types.Scope[] scopes)
    {
        service.LoadBalancing ??= new Wds.LoadBalancing();
        service.LoadBalancing.Mode = mode;
        service.LoadBalancing.RoutingPreference.AddRange(scopes);
        return service;
    }
}
