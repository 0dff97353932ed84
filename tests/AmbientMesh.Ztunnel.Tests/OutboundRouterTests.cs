using System.Net;
using AmbientMesh.Model;
using AmbientMesh.Model.Tests;
using AmbientMesh.Ztunnel.Outbound;
using static AmbientMesh.Model.Tests.MeshBuilder;
using Mode = AmbientMesh.Protocol.Wds.LoadBalancing.Types.Mode;
using Scope = AmbientMesh.Protocol.Wds.LoadBalancing.Types.Scope;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.Ztunnel.Tests;

public sealed class OutboundRouterTests
{
    private static readonly Random Random = new(1);

    private static MeshBuilder Mesh => new MeshBuilder().Pod("client", "10.0.0.1,fd00::1");

    private static OutboundRoute Decide(MeshBuilder mesh, string destination, string from = "client") =>
        OutboundRouter.Decide(mesh.Mesh, mesh.Find(from), IPEndPoint.Parse(destination), new OutboundSettings("", Random));

    private static OutboundRoute.Hbone Hbone(OutboundRoute route, string hop, string authority, params string[] identities)
    {
        var hbone = Assert.IsType<OutboundRoute.Hbone>(route);
        Assert.Equal((hop, authority), (hbone.NextHop.ToString(), hbone.Authority.ToString()));
        if (identities.Length > 0) Assert.Equal(identities.Select(i => $"spiffe://cluster.local/ns/default/sa/{i}"), hbone.Identities.Select(i => i.ToString()));
        return hbone;
    }

    private static void Refused(OutboundRoute route, Reason code, string text)
    {
        var reason = Assert.IsType<OutboundRoute.Refused>(route).Reason;
        Assert.Equal((code, text), (reason.Reason, reason.Text));
    }

    private static MeshBuilder WithWaypoint => Mesh.Pod("wp", "10.0.0.50,fd00::50", with: w => w.Backs("wp")).Service("wp", "10.1.0.50", "15008:15008");

    [Fact]
    public void An_hbone_pod_is_dialled_on_15008_and_asked_for_its_own_port() =>
        Hbone(Decide(Mesh.Pod("server", "10.0.0.2"), "10.0.0.2:8080"), "10.0.0.2:15008", "10.0.0.2:8080", "server");

    [Fact, Scenario("L4-003")]
    public void A_pod_without_hbone_is_dialled_plainly() =>
        Assert.Equal("10.0.0.2:8080", Assert.IsType<OutboundRoute.Plaintext>(Decide(Mesh.Pod("server", "10.0.0.2", with: w => w.TunnelProtocol = Wds.TunnelProtocol.None), "10.0.0.2:8080")).Destination.ToString());

    [Fact, Scenario("L4-005")]
    public void An_unknown_address_is_passed_through_and_labels_nothing()
    {
        var route = Assert.IsType<OutboundRoute.Plaintext>(Decide(Mesh, "192.0.2.1:443"));
        Assert.Equal((null, null), (route.Peer, route.Service));
    }

    [Theory, Scenario("L4-083")]
    [InlineData("127.0.0.1:15001")]
    [InlineData("127.0.0.1:15006")]
    [InlineData("[::1]:15008")]
    public void The_proxys_own_ports_on_loopback_are_refused(string destination) => Refused(Decide(Mesh, destination), Reason.SelfCall, "attempted recursive call to ourselves");

    [Fact, Scenario("L4-020")]
    public void A_pod_behind_a_waypoint_is_reached_through_it_by_its_address() =>
        Hbone(Decide(WithWaypoint.Pod("server", "10.0.0.2", with: w => w.Waypoint = At("10.0.0.50")), "10.0.0.2:8080"), "10.0.0.50:15008", "10.0.0.2:8080", "wp");

    [Fact, Scenario("L4-021")]
    public void A_service_behind_a_waypoint_is_reached_through_it_by_its_vip()
    {
        var route = Hbone(Decide(WithWaypoint.Service("s", "10.1.0.1", with: s => s.Waypoint = At("10.0.0.50")), "10.1.0.1:80"), "10.0.0.50:15008", "10.1.0.1:80", "wp");
        Assert.Equal(("s", "wp"), (route.Service!.Name, route.Peer.Name));
    }

    [Fact, Scenario("L4-022")]
    public void A_waypoint_named_by_its_service_may_have_the_services_identities()
    {
        var mesh = Mesh.Pod("wp", "10.0.0.50", with: w => w.Backs("wp")).Service("wp", "10.1.0.50", "15008:15008", with: s => s.SubjectAltNames.Add("spiffe://cluster.local/ns/default/sa/extra"))
            .Service("s", "10.1.0.1", with: s => s.Waypoint = Named("wp"));
        Hbone(Decide(mesh, "10.1.0.1:80"), "10.0.0.50:15008", "10.1.0.1:80", "extra", "wp");
    }

    [Fact, Scenario("L4-023")]
    public void A_waypoint_named_by_a_workloads_hostname_is_found() =>
        Hbone(Decide(Mesh.Pod("wp", "10.0.0.50", with: w => w.Hostname = "wp.example").Service("s", "10.1.0.1", with: s => s.Waypoint = Named("wp.example")), "10.1.0.1:80"), "10.0.0.50:15008", "10.1.0.1:80", "wp");

    [Fact, Scenario("L4-024")]
    public void Traffic_to_a_service_ignores_the_waypoint_of_its_pods() =>
        Hbone(Decide(WithWaypoint.Service("s", "10.1.0.1").Pod("server", "10.0.0.2", with: w => w.Backs("s").Waypoint = At("10.0.0.50")), "10.1.0.1:80"), "10.0.0.2:15008", "10.0.0.2:8080", "server");

    [Theory, Scenario("L4-025")]
    [InlineData(true)]
    [InlineData(false)]
    public void The_waypoint_itself_goes_straight_to_the_pod(bool byHostname) =>
        Hbone(Decide(WithWaypoint.Pod("server", "10.0.0.2", with: w => w.Waypoint = byHostname ? Named("wp") : At("10.0.0.50")), "10.0.0.2:8080", from: "wp"), "10.0.0.2:15008", "10.0.0.2:8080");

    [Fact, Scenario("L4-026")]
    public void A_waypoint_that_is_not_there_refuses_the_connection()
    {
        Refused(Decide(Mesh.Service("s", "10.1.0.1", with: s => s.Waypoint = Named("nosuch")), "10.1.0.1:80"), Reason.UnknownWaypoint, "unknown waypoint: waypoint nosuch.default.svc.cluster.local not found");
        Refused(Decide(Mesh.Pod("server", "10.0.0.2", with: w => w.Waypoint = At("10.0.0.99")), "10.0.0.2:8080"), Reason.UnknownWaypoint, "unknown waypoint: waypoint 10.0.0.99 not found");
        Refused(Decide(Mesh.Service("wp", "10.1.0.50", "15008:15008").Service("s", "10.1.0.1", with: s => s.Waypoint = Named("wp")), "10.1.0.1:80"), Reason.UnknownWaypoint, "unknown waypoint: waypoint wp.default.svc.cluster.local not found");
    }

    [Fact, Scenario("L4-027")]
    public void A_waypoint_of_another_family_is_used_at_the_address_it_has()
    {
        var mesh = Mesh.Pod("wp", "fd00::50", with: w => w.Backs("wp")).Service("wp", ports: "15008:15008").Service("s", "10.1.0.1", with: s => s.Waypoint = Named("wp"));
        Hbone(Decide(mesh, "10.1.0.1:80"), "[fd00::50]:15008", "10.1.0.1:80");
    }

    [Fact, Scenario("L4-030")]
    public void Weighted_waypoints_are_drawn_by_weight()
    {
        var mesh = Mesh.Pod("a", "10.0.0.50").Pod("b", "10.0.0.51").Service("s", "10.1.0.1", with: s =>
        {
            s.WeightedWaypoints.Add(new Wds.WeightedWaypoint { Destination = At("10.0.0.50"), Weight = 0 });
            s.WeightedWaypoints.Add(new Wds.WeightedWaypoint { Destination = At("10.0.0.51"), Weight = 100 });
        });
        for (var i = 0; i < 100; i++) Hbone(Decide(mesh, "10.1.0.1:80"), "10.0.0.51:15008", "10.1.0.1:80");
        mesh.Service("s", "10.1.0.1", with: s =>
        {
            s.WeightedWaypoints.Add(new Wds.WeightedWaypoint { Destination = At("10.0.0.50"), Weight = 50 });
            s.WeightedWaypoints.Add(new Wds.WeightedWaypoint { Destination = At("10.0.0.51"), Weight = 50 });
        });
        var first = Enumerable.Range(0, 2000).Count(_ => ((OutboundRoute.Hbone)Decide(mesh, "10.1.0.1:80")).Peer.Name == "a");
        Assert.InRange(first, 850, 1150);
    }

    [Fact, Scenario("L4-031", "L4-032")]
    public void A_service_without_a_waypoint_goes_straight_to_its_pod() =>
        Hbone(Decide(WithWaypoint.Service("s", "10.1.0.1").Pod("server", "10.0.0.2", with: w => w.Backs("s")), "10.1.0.1:80"), "10.0.0.2:15008", "10.0.0.2:8080");

    [Fact, Scenario("L4-040")]
    public void Connections_to_a_service_reach_all_its_pods()
    {
        var mesh = Mesh.Service("s", "10.1.0.1").Pod("a", "10.0.0.2", with: w => w.Backs("s")).Pod("b", "10.0.0.3", with: w => w.Backs("s"));
        Assert.Equal(["a", "b"], Enumerable.Range(0, 100).Select(_ => ((OutboundRoute.Hbone)Decide(mesh, "10.1.0.1:80")).Peer.Name).Distinct().Order());
    }

    [Fact, Scenario("L4-041", "L4-042", "L4-044", "L4-045", "L4-046")]
    public void Without_a_usable_endpoint_the_connection_is_refused()
    {
        Refused(Decide(Mesh.Service("s", "10.1.0.1"), "10.1.0.1:80"), Reason.NoHealthyUpstream, "no healthy upstream: 10.1.0.1:80");
        Refused(Decide(Mesh.Service("s", "10.1.0.1").Pod("p", "10.0.0.2", with: w => w.Backs("s")), "10.1.0.1:81"), Reason.NoHealthyUpstream, "no healthy upstream: 10.1.0.1:81");
        Refused(Decide(Mesh.Service("s", "10.1.0.1", "80:0").Pod("p", "10.0.0.2", with: w => w.Backs("s")), "10.1.0.1:80"), Reason.NoHealthyUpstream, "no healthy upstream: 10.1.0.1:80");
        Refused(Decide(Mesh.Service("s", "10.1.0.1").Pod("p", "10.0.0.2", with: w => w.Backs("s").Status = Wds.WorkloadStatus.Unhealthy), "10.1.0.1:80"), Reason.NoHealthyUpstream, "no healthy upstream: 10.1.0.1:80");
        Refused(Decide(Mesh.Service("s", "10.1.0.1", with: s => s.Balanced(Mode.Strict, Scope.Node)).Pod("p", "10.0.0.2", with: w => w.Backs("s").Node = "n2"), "10.1.0.1:80"), Reason.NoHealthyUpstream, "no healthy upstream: 10.1.0.1:80");
    }

    [Fact, Scenario("L4-043")]
    public void Each_pod_is_reached_on_its_own_named_port()
    {
        var mesh = Mesh.Service("s", "10.1.0.1", "80:0").Pod("a", "10.0.0.2", with: w => w.Backs("s", "80:8001")).Pod("b", "10.0.0.3", with: w => w.Backs("s", "80:8002"));
        Assert.Equal(["10.0.0.2:8001", "10.0.0.3:8002"], Enumerable.Range(0, 100).Select(_ => ((OutboundRoute.Hbone)Decide(mesh, "10.1.0.1:80")).Authority.ToString()).Distinct().Order());
    }

    [Fact, Scenario("L4-049")]
    public void A_passthrough_service_keeps_the_address_unless_it_has_a_waypoint()
    {
        var plain = Assert.IsType<OutboundRoute.Plaintext>(Decide(Mesh.Service("s", "10.1.0.1", with: s => s.Balanced(Mode.Passthrough)), "10.1.0.1:80"));
        Assert.Equal(("10.1.0.1:80", "s"), (plain.Destination.ToString(), plain.Service!.Name));
        Hbone(Decide(WithWaypoint.Service("s", "10.1.0.1", with: s => s.Balanced(Mode.Passthrough).Waypoint = At("10.0.0.50")), "10.1.0.1:80"), "10.0.0.50:15008", "10.1.0.1:80");
    }

    [Fact, Scenario("L4-050")]
    public void A_services_family_chooses_among_a_pods_addresses()
    {
        var mesh = Mesh.Service("s", "10.1.0.1", with: s => s.IpFamilies = Wds.IPFamilies.Ipv6Only).Pod("p", "10.0.0.2,fd00::2", with: w => w.Backs("s"));
        Hbone(Decide(mesh, "10.1.0.1:80"), "[fd00::2]:15008", "[fd00::2]:8080");
    }

    [Fact, Scenario("L4-058")]
    public void The_address_of_a_host_network_workload_is_no_mesh_address() =>
        Assert.Null(Assert.IsType<OutboundRoute.Plaintext>(Decide(Mesh.Pod("host", "10.0.0.9", with: w => w.NetworkMode = Wds.NetworkMode.HostNetwork), "10.0.0.9:80")).Peer);

    [Fact]
    public void A_services_identities_are_accepted_besides_the_pods() =>
        Hbone(Decide(Mesh.Service("s", "10.1.0.1", with: s => s.SubjectAltNames.Add("spiffe://cluster.local/ns/default/sa/other")).Pod("p", "10.0.0.2", with: w => w.Backs("s")), "10.1.0.1:80"), "10.0.0.2:15008", "10.0.0.2:8080", "other", "p");

    private static MeshBuilder Remote(Action<Wds.Workload>? with = null) => Mesh.Pod("gw", "10.0.0.60").Service("s", "10.1.0.1", with: s => s.SubjectAltNames.Add("spiffe://cluster.local/ns/default/sa/far"))
        .Pod("far", with: w => { w.Backs("s"); w.Network = "net2"; w.NetworkGateway = At("10.0.0.60"); with?.Invoke(w); });

    [Fact]
    public void A_pod_of_another_network_is_reached_by_a_tunnel_in_a_tunnel()
    {
        var route = Assert.IsType<OutboundRoute.DoubleHbone>(Decide(Remote(), "10.1.0.1:80"));
        Assert.Equal(("10.0.0.60:15008", "s.default.svc.cluster.local:80", "far"), (route.Gateway.ToString(), route.Authority.ToString(), route.Peer.Name));
        Assert.Equal("spiffe://cluster.local/ns/default/sa/gw", Assert.Single(route.GatewayIdentities).ToString());
        Assert.Equal("spiffe://cluster.local/ns/default/sa/far", Assert.Single(route.InnerIdentities).ToString());
    }

    [Fact, Scenario("L4-195")]
    public void A_remote_pod_without_a_gateway_is_refused() =>
        Refused(Decide(Remote(w => { w.NetworkGateway = null; w.Addresses.Add(Bytes("10.0.0.2")); }), "10.1.0.1:80"), Reason.NoRoute, "no valid routing destination for workload: far");

    [Fact]
    public void An_unknown_gateway_refuses_the_connection() =>
        Refused(Decide(Remote(w => w.NetworkGateway = At("10.0.0.61")), "10.1.0.1:80"), Reason.UnknownGateway, "unknown network gateway: network gateway 10.0.0.61 not found");

    [Fact, Scenario("L4-194")]
    public void A_pod_address_of_another_network_is_passed_through() =>
        Assert.IsType<OutboundRoute.Plaintext>(Decide(Mesh.Pod("far", "10.9.0.2", with: w => w.Network = "net2"), "10.9.0.2:80"));

    [Fact]
    public void A_workload_with_a_host_name_instead_of_addresses_is_reached_by_an_address_of_that_name()
    {
        var mesh = Mesh.Service("db", "10.1.0.1").Pod("ext", with: w => { w.Hostname = "db.example.com"; w.Backs("db"); });
        var route = Assert.IsType<OutboundRoute.ByName>(Decide(mesh, "10.1.0.1:80"));
        Assert.Equal(("ext", System.Net.Sockets.AddressFamily.InterNetwork), (route.Peer.Name, route.Preferred));
        Hbone(route.Then(IPAddress.Parse("192.0.2.7")), "192.0.2.7:15008", "192.0.2.7:8080", "ext");
    }

    [Fact]
    public void A_waypoint_with_a_host_name_instead_of_addresses_is_reached_by_an_address_of_that_name()
    {
        var mesh = Mesh.Pod("wp", with: w => { w.Hostname = "wp.example.com"; w.Backs("wp"); }).Service("wp", "10.1.0.50", "15008:15008").Service("s", "10.1.0.1", with: s => s.Waypoint = Named("wp"));
        var route = Assert.IsType<OutboundRoute.ByName>(Decide(mesh, "10.1.0.1:80"));
        Hbone(route.Then(IPAddress.Parse("192.0.2.8")), "192.0.2.8:15008", "10.1.0.1:80", "wp");
    }

    [Fact]
    public void A_workload_with_addresses_of_other_families_only_is_not_looked_up()
    {
        var mesh = Mesh.Service("db", "10.1.0.1", with: s => s.IpFamilies = Wds.IPFamilies.Ipv6Only).Pod("ext", "10.0.0.9", with: w => { w.Hostname = "db.example.com"; w.Backs("db"); });
        Assert.IsType<OutboundRoute.Refused>(Decide(mesh, "10.1.0.1:80"));
    }
}
