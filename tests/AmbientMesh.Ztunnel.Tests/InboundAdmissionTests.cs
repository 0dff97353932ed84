using System.Net;
using AmbientMesh.Hbone;
using AmbientMesh.Model;
using AmbientMesh.Model.Tests;
using AmbientMesh.Ztunnel.Inbound;
using static AmbientMesh.Model.Tests.MeshBuilder;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.Ztunnel.Tests;

public sealed class InboundAdmissionTests
{
    private static readonly IPAddress PodIp = IPAddress.Parse("10.0.0.2");

    private static MeshBuilder Mesh => new MeshBuilder().Pod("server", "10.0.0.2", with: w => w.Backs("s", "81:8081")).Service("s", "10.1.0.1", "80:8080,81:0,82:0");

    private static InboundDecision Decide(MeshBuilder mesh, string authority, bool localhost = true)
    {
        Assert.True(HboneAuthority.TryParse(authority, out var parsed));
        return InboundAdmission.Decide(mesh.Mesh, mesh.Find("server"), PodIp, parsed, new InboundSettings("", null, localhost));
    }

    private static InboundDecision.Admitted Admitted(InboundDecision decision, string upstream)
    {
        var admitted = Assert.IsType<InboundDecision.Admitted>(decision);
        Assert.Equal(upstream, admitted.Upstream.ToString());
        return admitted;
    }

    private static void Rejected(InboundDecision decision, int status, string text)
    {
        var rejected = Assert.IsType<InboundDecision.Rejected>(decision);
        Assert.Equal((status, text), (rejected.Status, rejected.Reason.Text));
    }

    [Fact]
    public void The_pods_own_address_is_admitted() => Assert.Null(Admitted(Decide(Mesh, "10.0.0.2:8080"), "10.0.0.2:8080").ProxyDestination);

    [Fact, Scenario("L4-071")]
    public void Another_address_is_rejected_and_both_are_named()
    {
        Rejected(Decide(Mesh, "10.0.0.3:8080"), 400, "ip mismatch: 10.0.0.2 != 10.0.0.3");
        Rejected(Decide(Mesh, "10.1.0.1:80"), 400, "ip mismatch: 10.0.0.2 != 10.1.0.1");
        Rejected(Decide(Mesh.Pod("other", "10.0.0.3", with: w => w.Waypoint = At("10.0.0.9")).Pod("wp", "10.0.0.9"), "10.0.0.3:8080"), 400, "ip mismatch: 10.0.0.2 != 10.0.0.3");
        Rejected(Decide(Mesh.Service("guarded", "10.1.0.5", with: s => s.Waypoint = Named("elsewhere")), "10.1.0.5:80"), 400, "ip mismatch: 10.0.0.2 != 10.1.0.5");
        Rejected(Decide(Mesh, "[fd00::2]:8080"), 400, "ip mismatch: 10.0.0.2 != fd00::2");
    }

    [Fact]
    public void An_ipv4_address_in_ipv6_clothes_is_the_same_address() => Admitted(Decide(Mesh, "[::ffff:10.0.0.2]:8080"), "10.0.0.2:8080");

    [Fact, Scenario("L4-072", "L4-073")]
    public void A_hostname_leads_to_the_services_or_the_pods_own_port()
    {
        Admitted(Decide(Mesh, "s.default.svc.cluster.local:80"), "10.0.0.2:8080");
        Admitted(Decide(Mesh, "s.default.svc.cluster.local:81"), "10.0.0.2:8081");
    }

    [Fact, Scenario("L4-074")]
    public void An_unknown_hostname_or_port_is_rejected_and_named()
    {
        Rejected(Decide(Mesh, "nosuch.default:80"), 503, "no service or workload for hostname: nosuch.default");
        Rejected(Decide(Mesh, "s.default.svc.cluster.local:82"), 503, "requested service s.default.svc.cluster.local:82 found, but cannot resolve port");
        Rejected(Decide(Mesh, "s.default.svc.cluster.local:99"), 503, "requested service s.default.svc.cluster.local:99 found, but cannot resolve port");
    }

    [Theory, Scenario("L4-075")]
    [InlineData("10.0.0.2:15001")]
    [InlineData("10.0.0.2:15006")]
    [InlineData("10.0.0.2:15008")]
    public void The_proxys_own_ports_are_rejected(string authority) => Rejected(Decide(Mesh, authority), 503, "attempted recursive call to ourselves");

    [Fact]
    public void A_service_that_leads_to_the_proxys_own_port_is_rejected() =>
        Rejected(Decide(Mesh.Service("loop", "10.1.0.2", "80:15008").Pod("server", "10.0.0.2", with: w => w.Backs("loop")), "loop.default.svc.cluster.local:80"), 503, "attempted recursive call to ourselves");

    [Theory, Scenario("L4-028")]
    [InlineData("10.1.0.5:80")]
    [InlineData("10.0.0.7:80")]
    public void A_waypoint_accepts_what_points_to_it(string authority)
    {
        var mesh = Mesh.Service("guarded", "10.1.0.5", with: s => s.Waypoint = Named("s")).Pod("behind", "10.0.0.7", with: w => w.Waypoint = At("10.0.0.2"));
        Admitted(Decide(mesh, authority), "10.0.0.2:80");
    }

    [Fact, Scenario("L4-028")]
    public void A_weighted_waypoint_accepts_what_points_to_it() =>
        Admitted(Decide(Mesh.Service("guarded", "10.1.0.5", with: s => s.WeightedWaypoints.Add(new Wds.WeightedWaypoint { Destination = Named("s"), Weight = 0 })), "10.1.0.5:80"), "10.0.0.2:80");

    private static MeshBuilder Tunnelled(uint port = 8095) => new MeshBuilder().Service("s", "10.1.0.1,fd00:1::1", "80:8080")
        .Pod("server", "10.0.0.2", with: w => w.Backs("s").ApplicationTunnel = new Wds.ApplicationTunnel { Protocol = Wds.ApplicationTunnel.Types.Protocol.Proxy, Port = port });

    [Theory, Scenario("L4-029")]
    [InlineData("10.0.0.2:8080", "10.0.0.2:8080")]
    [InlineData("10.1.0.1:80", "10.1.0.1:80")]
    [InlineData("s.default.svc.cluster.local:80", "10.1.0.1:80")]
    public void An_application_tunnel_takes_any_address_and_announces_it(string authority, string announced)
    {
        var admitted = Admitted(Decide(Tunnelled(), authority), "127.0.0.1:8095");
        Assert.Equal(announced, admitted.ProxyDestination!.ToString());
        Assert.True(admitted.IsFromLoopback);
    }

    [Fact]
    public void An_application_tunnel_without_a_port_keeps_the_requested_one_and_may_leave_loopback()
    {
        Admitted(Decide(Tunnelled(port: 0), "10.0.0.2:8080"), "127.0.0.1:8080");
        Admitted(Decide(Tunnelled(), "10.0.0.2:8080", localhost: false), "10.0.0.2:8095");
    }

    [Theory, Scenario("L4-029")]
    [InlineData("10.98.0.2:8080", "0d0a0d0a000d0a515549540a211100360a6200050a620002af5b1f90d000277370696666653a2f2f636c75737465722e6c6f63616c2f6e732f64656661756c742f73612f6862")]
    [InlineData("10.198.0.2:80", "0d0a0d0a000d0a515549540a211100360a6200050ac60002af5b0050d000277370696666653a2f2f636c75737465722e6c6f63616c2f6e732f64656661756c742f73612f6862")]
    public void The_proxy_header_is_the_recorded_one(string destination, string expected) =>
        Assert.Equal(expected, Convert.ToHexStringLower(ProxyHeader.Write(IPEndPoint.Parse("10.98.0.5:44891"), IPEndPoint.Parse(destination), new SpiffeId("cluster.local", "default", "hb"))));

    [Fact]
    public void A_proxy_header_without_identity_or_with_ipv6_has_no_tlv_and_long_addresses()
    {
        var header = ProxyHeader.Write(IPEndPoint.Parse("10.0.0.1:1"), IPEndPoint.Parse("[fd00::2]:80"), null);
        Assert.Equal((52, (byte)0x21, (byte)36), (header.Length, header[13], header[15]));
    }

    [Theory, Scenario("L4-085")]
    [InlineData(15001)]
    [InlineData(15006)]
    [InlineData(15008)]
    public void Plain_connections_to_the_proxys_own_ports_are_refused(int port) =>
        Assert.Equal(Reason.SelfCall, PlaintextAdmission.Decide(new IPEndPoint(PodIp, port))!.Reason);

    [Fact]
    public void Other_plain_connections_go_on_to_policy() => Assert.Null(PlaintextAdmission.Decide(new IPEndPoint(PodIp, 8080)));

    [Fact]
    public void The_destination_service_is_the_named_one_else_one_with_the_port_else_unknown()
    {
        var mesh = Mesh;
        Assert.Equal("s", DestinationService.Of(mesh.Mesh, mesh.Find("server"), "s.default.svc.cluster.local", 9999)!.Name);
        Assert.Equal("s", DestinationService.Of(mesh.Mesh, mesh.Find("server"), null, 8081)!.Name);
        Assert.Null(DestinationService.Of(mesh.Mesh, mesh.Find("server"), null, 9999));
        Assert.Null(DestinationService.Of(mesh.Mesh, mesh.Find("server"), "other.default", 9999));
    }
}
