using System.Net;
using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Protocol;
using AmbientMesh.Protocol.Core;
using AmbientMesh.Protocol.Discovery;
using AmbientMesh.Xds;
using AmbientMesh.Ztunnel.State;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Microsoft.Extensions.Logging.Abstractions;
using Wds = AmbientMesh.Protocol.Wds;
using Wire = AmbientMesh.Protocol.Security;

namespace AmbientMesh.Fuzz.Targets;

/// <summary>A resource of the control plane as ztunnel takes it: bytes, shape, values, snapshot, decisions. The first byte chooses the type.</summary>
public sealed class DiscoveryResourcesTarget : FuzzTarget
{
    private static readonly SpiffeId?[] Peers = [null, new SpiffeId("cluster.local", "default", "a"), new SpiffeId("cluster.local", "other", "b")];

    public override string Name => "discovery-resources";
    public override string Purpose => "Address and Authorization: refused with a reason or taken; the same lookups and verdicts after being encoded again";

    public override IEnumerable<byte[]> Seeds()
    {
        var workload = new Wds.Workload
        {
            Uid = "Kubernetes//Pod/default/a",
            Name = "a",
            Namespace = "default",
            Addresses = { ByteString.CopyFrom(10, 0, 0, 1) },
            TunnelProtocol = Wds.TunnelProtocol.Hbone,
            ServiceAccount = "a",
            Node = "n",
            AuthorizationPolicies = { "default/p" },
            Waypoint = new Wds.GatewayAddress { Hostname = new Wds.NamespacedHostname { Namespace = "default", Hostname = "w" }, HboneMtlsPort = 15008 },
            Services = { ["default/a.default.svc.cluster.local"] = new Wds.PortList { Ports = { new Wds.Port { ServicePort = 80, TargetPort = 8080 } } } },
            Capacity = 2,
            Locality = new Wds.Locality { Region = "r", Zone = "z" },
            ApplicationTunnel = new Wds.ApplicationTunnel { Port = 1 },
        };
        yield return SeedBytes.Of(0, new Wds.Address { Workload = workload }.ToByteArray());
        var service = new Wds.Service
        {
            Name = "a",
            Namespace = "default",
            Hostname = "a.default.svc.cluster.local",
            Addresses = { new Wds.NetworkAddress { Address = ByteString.CopyFrom(10, 96, 0, 1) }, new Wds.NetworkAddress { Address = ByteString.CopyFrom(10, 0, 0, 0), Length = 8 } },
            Ports = { new Wds.Port { ServicePort = 80, TargetPort = 8080 } },
            SubjectAltNames = { "spiffe://cluster.local/ns/default/sa/a" },
            LoadBalancing = new Wds.LoadBalancing { Mode = Wds.LoadBalancing.Types.Mode.Failover, RoutingPreference = { Wds.LoadBalancing.Types.Scope.Zone } },
        };
        yield return SeedBytes.Of(0, new Wds.Address { Service = service }.ToByteArray());
        var match = new Wire.Match
        {
            Namespaces = { new Wire.StringMatch { Exact = "default" } },
            NotPrincipals = { new Wire.StringMatch { Presence = new Empty() } },
            Principals = { new Wire.StringMatch { Suffix = "/a" } },
            SourceIps = { new Wire.Address { Address_ = ByteString.CopyFrom(10, 0, 0, 0), Length = 8 } },
            DestinationPorts = { 80, 8080 },
            ServiceAccounts = { new Wire.ServiceAccountMatch { Namespace = "default", ServiceAccount = "a" } },
        };
        foreach (var action in (Wire.Action[])[Wire.Action.Allow, Wire.Action.Deny])
            yield return SeedBytes.Of(1, new Wire.Authorization { Name = "p", Namespace = "default", Scope = Wire.Scope.Namespace, Action = action, Rules = { new Wire.Rule { Clauses = { new Wire.Clause { Matches = { match } } } } } }.ToByteArray());
    }

    public override IEnumerable<byte[]> Words() => SeedBytes.Words("default", "spiffe://", "/", "\u0000");

    public override void Run(byte[] input)
    {
        var isPolicy = input.Length > 0 && input[0] % 2 == 1;
        var body = ByteString.CopyFrom(input.AsSpan(Math.Min(1, input.Length)));
        var first = Taken(isPolicy, body, out var rejection);
        if (first is null)
        {
            Demand.That(!string.IsNullOrEmpty(rejection), "a refusal has a reason");
            return;
        }
        var again = Taken(isPolicy, isPolicy ? Wire.Authorization.Parser.ParseFrom(body).ToByteString() : Wds.Address.Parser.ParseFrom(body).ToByteString(), out rejection);
        Demand.That(again is not null, $"what was taken is taken again: {rejection}");
        Demand.SameSequence(Answers(first), Answers(again!), "answers after encoding again");
    }

    /// <summary>The snapshot after the resource; null when it was refused.</summary>
    private static MeshSnapshot? Taken(bool isPolicy, ByteString body, out string? rejection)
    {
        var store = new MeshStore("n");
        IResourceHandler handler = isPolicy ? new AuthorizationHandler(store, NullLogger.Instance) : new AddressHandler(store);
        var rejections = handler.Apply([new Resource { Name = "x", Resource_ = new Any { Value = body } }], []);
        rejection = rejections.Count > 0 ? rejections[0].Reason : null;
        return rejections.Count > 0 ? null : store.Current;
    }

    private static IEnumerable<string> Answers(MeshSnapshot mesh)
    {
        foreach (var workload in mesh.Workloads)
        {
            yield return $"{workload.Uid} {workload.Identity} {workload.SpeaksHbone} {workload.IsHealthy} {workload.Waypoint} {string.Join(',', workload.Addresses)} {string.Join(',', workload.Policies)} {workload.Capacity} {workload.ApplicationTunnel}";
            foreach (var address in workload.Addresses) yield return $"{address}: {mesh.FindWorkload(new NetworkAddress(workload.Network, address))?.Uid}";
        }
        foreach (var service in mesh.Services)
        {
            yield return $"{service.Key} {service.Waypoint} {string.Join(',', service.SubjectAltNames)} {service.LoadBalancing.Mode} {service.IsNamespacePrivate}";
            foreach (var vip in service.Vips) yield return $"{vip}: {mesh.FindService(vip, "default")}";
            yield return $"range: {mesh.FindService(new NetworkAddress("", IPAddress.Parse("10.0.0.77")), "default")}";
        }
        var destination = new Workload { Uid = "u", Namespace = "default", Policies = [.. mesh.Policies.Select(p => p.Key)] };
        foreach (var peer in Peers)
            foreach (var port in (int[])[80, 8080])
                yield return Authorizer.Decide(mesh, destination, new ConnectionFacts(peer, IPAddress.Parse("10.0.0.9"), new IPEndPoint(IPAddress.Parse("10.0.0.1"), port))).ToString();
    }
}

/// <summary>What a client may ask of the control plane's discovery server, request after request, each behind its length.</summary>
public sealed class DiscoveryRequestsTarget : FuzzTarget
{
    public override string Name => "discovery-requests";
    public override string Purpose => "delta requests on one stream: a known error or answers; nothing unknown is sent, names stay bounded";

    public override IEnumerable<byte[]> Seeds() =>
    [
        Requests(new DeltaDiscoveryRequest { TypeUrl = TypeUrls.Address, Node = new Node { Id = "ztunnel~1.1.1.1~a.b~b.svc" } }, new DeltaDiscoveryRequest { TypeUrl = TypeUrls.Address, ResponseNonce = "1" }),
        Requests(
            new DeltaDiscoveryRequest { TypeUrl = TypeUrls.Address, ResourceNamesSubscribe = { "*", "/10.0.0.1" }, ResourceNamesUnsubscribe = { "*" } },
            new DeltaDiscoveryRequest { TypeUrl = TypeUrls.Address, ResponseNonce = "1", ErrorDetail = new Protocol.Rpc.Status { Message = "a/b: bad; w1: worse" } }),
        Requests(new DeltaDiscoveryRequest { TypeUrl = TypeUrls.Authorization, InitialResourceVersions = { ["a/b"] = "", ["gone"] = "1" } }),
        Requests(new DeltaDiscoveryRequest { TypeUrl = "nobody/knows" }),
    ];

    public override IEnumerable<byte[]> Words() => SeedBytes.Words(TypeUrls.Address, TypeUrls.Authorization, "*", "w1", "/10.0.0.1", "a/b");

    public override void Run(byte[] input)
    {
        var addresses = new ResourceTable(TypeUrls.Address);
        addresses.Update([XdsResource.Create(TypeUrls.Address, "w1", new Wds.Address { Workload = new Wds.Workload { Uid = "w1" } }, ["/10.0.0.1"])]);
        var policies = new ResourceTable(TypeUrls.Authorization);
        policies.Update([XdsResource.Create(TypeUrls.Authorization, "a/b", new Wire.Authorization { Name = "b", Namespace = "a" }, versioned: false)]);
        var session = new DeltaSession([policies, addresses], new Node(), new DeltaRequestLimits { MaxNames = 100 });
        var rest = new InputBytes(input);
        while (!rest.IsEmpty)
        {
            if (!ForeignMessage.TryParse(DeltaDiscoveryRequest.Parser, rest.Take(rest.Short()), out var request, out _)) return;
            try
            {
                session.Receive(request);
            }
            catch (Rpc.RpcException)
            {
                return;   // the stream ends
            }
            foreach (var response in session.Due())
                Demand.That(response.Resources.All(r => r.Resource_ is null || r.Name is "w1" or "a/b" || r.Name == "/10.0.0.1"), "only what exists is sent");
        }
        _ = session.Status.ToList();
    }

    private static byte[] Requests(params DeltaDiscoveryRequest[] requests) =>
        [.. requests.Select(r => r.ToByteArray()).SelectMany(b => (byte[])[(byte)(b.Length >> 8), (byte)b.Length, .. b])];
}
