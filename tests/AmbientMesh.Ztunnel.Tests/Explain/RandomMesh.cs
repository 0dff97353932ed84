using System.Net;
using AmbientMesh.Model;
using AmbientMesh.Model.Tests;
using Google.Protobuf.WellKnownTypes;
using Mode = AmbientMesh.Protocol.Wds.LoadBalancing.Types.Mode;
using Scope = AmbientMesh.Protocol.Wds.LoadBalancing.Types.Scope;
using Wds = AmbientMesh.Protocol.Wds;
using Wire = AmbientMesh.Protocol.Security;

namespace AmbientMesh.Ztunnel.Tests.Explain;

/// <summary>A mesh made from a seed: pods enrolled and not, healthy and not, near and far, services with every way of balancing, waypoints, policies of every kind.</summary>
internal sealed class RandomMesh
{
    private static readonly string[] s_namespaces = ["default", "shop"];
    private readonly Random _random;
    private readonly MeshBuilder _builder = new("n1");
    private readonly List<(string Name, string Namespace)> _pods = [];

    public RandomMesh(int seed)
    {
        _random = new Random(seed);
        var services = _random.Next(1, 5);
        var pods = _random.Next(2, 9);
        for (var i = 0; i < _random.Next(0, 6); i++) Policy(i, i % 3 == 0 ? "istio-system" : Pick(s_namespaces));
        for (var i = 0; i < services; i++) Service(i, services);
        for (var i = 0; i < pods; i++) Pod(i, services);
    }

    public MeshSnapshot Mesh => _builder.Mesh;
    public IEnumerable<Workload> Pods => _pods.Select(p => _builder.Find(p.Name, p.Namespace));

    /// <summary>Addresses of everything, and one of nothing, on ports that are served, that are not, and that are the proxy's own.</summary>
    public IEnumerable<IPEndPoint> Destinations()
    {
        var addresses = Mesh.Services.SelectMany(s => s.Vips).Select(v => v.Address).Concat(Mesh.Workloads.SelectMany(w => w.Addresses)).Append(IPAddress.Parse("203.0.113.9")).Append(IPAddress.Loopback);
        foreach (var address in addresses)
            foreach (var port in (int[])[80, 90, 8080, 15001, 15008]) yield return new IPEndPoint(address, port);
    }

    private T Pick<T>(params T[] of) => of[_random.Next(of.Length)];

    private bool OneIn(int n) => _random.Next(n) == 0;

    private string HostOf(int service) => $"s{service}";

    private void Service(int i, int services) => _builder.Service(HostOf(i), OneIn(8) ? "" : OneIn(3) ? $"10.1.0.{i + 1},fd01::{i + 1}" : $"10.1.0.{i + 1}", Pick("80:8080", "80:8080,90:0", "80:0", "80:8080,15008:15008"), "default", service =>
    {
        service.Balanced(Pick(Mode.UnspecifiedMode, Mode.UnspecifiedMode, Mode.Strict, Mode.Failover, Mode.Passthrough), OneIn(2) ? [Scope.Node] : [Scope.Network, Scope.Region, Scope.Zone]);
        if (OneIn(6)) service.LoadBalancing.HealthPolicy = Wds.LoadBalancing.Types.HealthPolicy.AllowAll;
        if (OneIn(4)) service.Waypoint = Gateway(services);
        if (OneIn(5)) service.WeightedWaypoints.Add(Enumerable.Range(0, 3).Select(_ => new Wds.WeightedWaypoint { Destination = Gateway(services), Weight = (uint)_random.Next(3) }));
        if (OneIn(6)) service.SubjectAltNames.Add("spiffe://cluster.local/ns/default/sa/p1");
    });

    private Wds.GatewayAddress Gateway(int services) => Pick(0, 1, 2) switch
    {
        0 => MeshBuilder.Named(HostOf(_random.Next(services + 1))),
        1 => MeshBuilder.At($"10.1.0.{_random.Next(1, services + 2)}"),
        _ => MeshBuilder.At($"10.0.0.{_random.Next(1, 9)}"),
    };

    private void Pod(int i, int services)
    {
        var ns = Pick(s_namespaces);
        _pods.Add(($"p{i}", ns));
        _builder.Pod($"p{i}", OneIn(10) ? "" : OneIn(3) ? $"10.0.0.{i + 1},fd00::{i + 1}" : $"10.0.0.{i + 1}", ns, pod =>
        {
            pod.Node = Pick("n1", "n2");
            pod.In(Pick("r1", "r2"), Pick("z1", "z2"));
            pod.TunnelProtocol = OneIn(4) ? Wds.TunnelProtocol.None : Wds.TunnelProtocol.Hbone;
            if (OneIn(4)) pod.Status = Wds.WorkloadStatus.Unhealthy;
            if (OneIn(2)) pod.Capacity = (uint)_random.Next(4);
            if (OneIn(10)) pod.Network = "far";
            if (OneIn(6)) pod.Waypoint = Gateway(services);
            if (OneIn(12)) pod.NetworkGateway = Gateway(services);
            if (OneIn(10)) pod.ApplicationTunnel = new Wds.ApplicationTunnel { Port = 15088, Protocol = Pick(Wds.ApplicationTunnel.Types.Protocol.Proxy, Wds.ApplicationTunnel.Types.Protocol.None) };
            for (var s = 0; s < services; s++)
                if (OneIn(2)) pod.Backs(HostOf(s), Pick("", "80:8080", "90:9090"));
            for (var p = 0; p < 6; p++)
                if (OneIn(4)) pod.AuthorizationPolicies.Add($"{Pick(s_namespaces)}/policy{p}");
        });
    }

    private void Policy(int i, string ns) => _builder.Policy($"policy{i}", Pick(Wire.Action.Allow, Wire.Action.Deny), ns == "istio-system" ? Wire.Scope.Global : Pick(Wire.Scope.Namespace, Wire.Scope.WorkloadSelector), ns, OneIn(5),
        [.. Enumerable.Range(0, _random.Next(3)).Select(_ => Rule())]);

    private Wire.Rule Rule()
    {
        var rule = new Wire.Rule();
        for (var c = 0; c < _random.Next(3); c++)
        {
            var clause = new Wire.Clause();
            for (var m = 0; m < _random.Next(3); m++) clause.Matches.Add(Match());
            rule.Clauses.Add(clause);
        }
        return rule;
    }

    private Wire.Match Match()
    {
        var match = new Wire.Match();
        if (OneIn(3)) match.Principals.Add(new Wire.StringMatch { Exact = $"cluster.local/ns/{Pick(s_namespaces)}/sa/p{_random.Next(5)}" });
        if (OneIn(4)) match.NotPrincipals.Add(new Wire.StringMatch { Presence = new Empty() });
        if (OneIn(3)) match.Namespaces.Add(new Wire.StringMatch { Exact = Pick(s_namespaces) });
        if (OneIn(3)) match.DestinationPorts.Add(Pick(80u, 8080u, 9090u));
        if (OneIn(5)) match.NotDestinationPorts.Add(8080u);
        if (OneIn(4)) match.SourceIps.Add(new Wire.Address { Address_ = MeshBuilder.Bytes("10.0.0.0"), Length = Pick(24u, 30u) });
        return match;
    }
}
