using System.Net;
using AmbientMesh.Hbone;
using AmbientMesh.Model;
using AmbientMesh.Model.Tests;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.Inbound;
using FsCheck;
using FsCheck.Fluent;
using static AmbientMesh.Model.Tests.MeshBuilder;

namespace AmbientMesh.Ztunnel.Tests;

/// <summary>Decisions of the proxy under attack (threats.md, by the ids).</summary>
public sealed class ThreatTests
{
    private static readonly IPAddress PodIp = IPAddress.Parse("10.0.0.2");

    private static InboundDecision Decide(MeshBuilder mesh, HboneAuthority authority) =>
        InboundAdmission.Decide(mesh.Mesh, mesh.Find("server"), PodIp, authority, new InboundSettings("", null, true));

    private static InboundDecision Decide(MeshBuilder mesh, string authority)
    {
        Assert.True(HboneAuthority.TryParse(authority, out var parsed));
        return Decide(mesh, parsed);
    }

    private static MeshBuilder Mesh => new MeshBuilder()
        .Pod("server", "10.0.0.2", with: w => w.Backs("s")).Service("s", "10.1.0.1")
        .Pod("other", "10.0.0.3", with: w => w.Backs("foreign")).Service("foreign", "10.1.0.2", "80:9090")
        .Service("fronted", "10.1.0.3", with: s => s.Waypoint = Named("s"));

    [Theory, Scenario("T-11")]
    [InlineData("10.0.0.3:8080")]                              // a neighbour: a port scan through the proxy
    [InlineData("10.1.0.2:80")]                                // another service
    [InlineData("169.254.169.254:80")]                         // the cloud's metadata
    [InlineData("127.0.0.1:8080")]                             // loopback of the pod
    [InlineData("[::1]:8080")]
    [InlineData("0.0.0.0:8080")]
    [InlineData("[::ffff:127.0.0.1]:8080")]
    [InlineData("foreign.default.svc.cluster.local:80")]       // a service of others, by name: its port would have been tried here
    public void Nothing_but_the_pod_itself_its_services_and_what_it_is_the_waypoint_of_is_reached(string authority) =>
        Assert.Equal(400, Assert.IsType<InboundDecision.Rejected>(Decide(Mesh, authority)).Status);

    [Theory, Scenario("T-11")]
    [InlineData("10.0.0.2:8080")]
    [InlineData("s.default.svc.cluster.local:80")]
    [InlineData("10.1.0.3:80")]
    [InlineData("fronted.default.svc.cluster.local:80")]
    public void These_are_reached_at_the_pods_own_address(string authority) =>
        Assert.Equal(PodIp, Assert.IsType<InboundDecision.Admitted>(Decide(Mesh, authority)).Upstream.Address);

    /// <summary>Whatever is asked for: bytes go to the pod's own address or nowhere, and never to a port of the proxy.</summary>
    [Fact, Scenario("T-11", "T-12")]
    public void No_authority_leads_out_of_the_pod_or_into_the_proxy()
    {
        var mesh = Mesh.Service("loop", "10.1.0.9", "80:15008,81:15053,82:15001", with: _ => { }).Pod("server", "10.0.0.2", with: w => w.Backs("s").Backs("loop"));
        var hosts = Gen.OneOf(
            Gen.Elements("10.0.0.2", "10.0.0.3", "10.1.0.1", "10.1.0.2", "10.1.0.3", "127.0.0.1", "s.default.svc.cluster.local", "foreign.default.svc.cluster.local", "loop.default.svc.cluster.local", "fronted.default.svc.cluster.local"),
            from a in Gen.Choose(0, 255) from b in Gen.Choose(0, 255) select $"10.{a}.0.{b}");
        var ports = Gen.OneOf(Gen.Choose(1, 65535), Gen.Elements(80, 81, 82, 8080, 15000, 15001, 15006, 15008, 15053, 15080));
        Prop.ForAll((from host in hosts from port in ports select HboneAuthority.Of(host, port)).ToArbitrary(), authority =>
            Decide(mesh, authority) is not InboundDecision.Admitted admitted
            || (admitted.Upstream.Address.Equals(PodIp) && admitted.Upstream.Port is not (15001 or 15006 or 15008 or 15053 or 15080))).QuickCheckThrowOnFailure();
    }

    [Theory, Scenario("T-12")]
    [InlineData(15001)]
    [InlineData(15006)]
    [InlineData(15008)]
    [InlineData(15053)]
    [InlineData(15080)]
    public void Ports_of_the_proxy_are_refused_to_tunnels_and_to_plain_connections(int port)
    {
        Assert.Equal(Reason.SelfCall, Assert.IsType<InboundDecision.Rejected>(Decide(Mesh, $"10.0.0.2:{port}")).Reason.Reason);
        Assert.Equal(Reason.SelfCall, PlaintextAdmission.Decide(new IPEndPoint(PodIp, port))!.Reason);
    }

    [Fact, Scenario("T-15")]
    public void A_peer_cannot_speak_for_another_namespace_than_its_certificates()
    {
        var peer = new SpiffeId("cluster.local", "default", "evil");
        var forged = Baggage.Parse(["k8s.cluster.name=c,k8s.namespace.name=payments,k8s.deployment.name=billing,service.name=billing"]);
        Assert.Equal(new Baggage { Namespace = "default" }, forged.As(peer));
        var own = Baggage.Parse(["k8s.namespace.name=default,k8s.deployment.name=app"]);
        Assert.Equal(own, own.As(peer));
    }

    [Fact, Scenario("T-15")]
    public void A_forwarded_header_chooses_among_the_pods_own_services_and_nothing_else()
    {
        var mesh = Mesh;
        var told = TunnelHeaders.ForwardedHost("for=\"1.2.3.4:5\";host=foreign.default.svc.cluster.local");
        Assert.Equal("s", DestinationService.Of(mesh.Mesh, mesh.Find("server"), told, 8080)!.Name);
    }

    [Fact, Scenario("T-09")]
    public void A_source_has_its_own_places_and_leaves_others_theirs()
    {
        var limit = new SourceLimit(2);
        var (greedy, other) = (IPAddress.Parse("10.0.0.9"), IPAddress.Parse("10.0.0.8"));
        var first = limit.TryEnter(greedy);
        using var second = limit.TryEnter(greedy);
        Assert.Null(limit.TryEnter(greedy));
        using var elsewhere = limit.TryEnter(other);
        Assert.NotNull(elsewhere);
        first!.Dispose();
        first.Dispose();   // a place is given back once
        using var third = limit.TryEnter(greedy);
        Assert.NotNull(third);
        Assert.Null(limit.TryEnter(greedy));
        second!.Dispose();
        third.Dispose();
        elsewhere.Dispose();
        Assert.Equal(0, limit.Sources);
    }

    private static MeshBuilder Guarded => new MeshBuilder()
        .Service("wp", "10.1.0.8").Pod("waypoint", "10.0.0.8", with: w => w.Backs("wp"))
        .Service("s", "10.1.0.1", with: s => s.Waypoint = Named("wp")).Pod("server", "10.0.0.2", with: w => w.Backs("s"))
        .Pod("client", "10.0.0.5");

    [Fact, Scenario("T-33")]
    public void Where_waypoints_are_required_only_they_reach_what_is_bound_to_them()
    {
        var mesh = Guarded;
        Assert.Null(WaypointRequirement.Problem(mesh.Mesh, mesh.Find("server"), mesh.Find("waypoint").Identity));
        foreach (var peer in (SpiffeId?[])[null, mesh.Find("client").Identity, mesh.Find("server").Identity, mesh.Find("waypoint").Identity with { TrustDomain = "other" }])
            Assert.Equal(Reason.PolicyNotAllowed, WaypointRequirement.Problem(mesh.Mesh, mesh.Find("server"), peer)!.Reason);
        Assert.Null(WaypointRequirement.Problem(mesh.Mesh, mesh.Find("client"), null));   // bound to none
    }

    [Fact, Scenario("T-33")]
    public void A_waypoint_whose_probes_fail_is_still_the_waypoint()
    {
        var mesh = Guarded.Pod("waypoint", "10.0.0.8", with: w => { w.Backs("wp"); w.Status = Protocol.Wds.WorkloadStatus.Unhealthy; });
        Assert.Null(WaypointRequirement.Problem(mesh.Mesh, mesh.Find("server"), mesh.Find("waypoint").Identity));
        Assert.NotNull(WaypointRequirement.Problem(mesh.Mesh, mesh.Find("server"), mesh.Find("client").Identity));
    }

    [Fact, Scenario("T-33")]
    public void An_open_connection_is_not_judged_by_a_waypoint_that_has_no_pods_now()
    {
        var before = Guarded;
        var mesh = Guarded;
        mesh.Store.Edit(edit => edit.RemoveAddress(UidOf("waypoint")));
        Assert.NotNull(WaypointRequirement.ProblemOfOpen(before.Mesh, before.Find("server"), before.Find("client").Identity));
        Assert.NotNull(WaypointRequirement.Problem(mesh.Mesh, mesh.Find("server"), before.Find("waypoint").Identity));
        Assert.Null(WaypointRequirement.ProblemOfOpen(mesh.Mesh, mesh.Find("server"), before.Find("waypoint").Identity));
    }

    [Theory, Scenario("T-33")]
    [InlineData("elsewhere")]
    public void A_required_waypoint_that_is_absent_lets_nobody_in(string waypoint)
    {
        var mesh = new MeshBuilder().Pod("server", "10.0.0.2", with: w => w.Waypoint = Named(waypoint)).Pod("client", "10.0.0.5");
        Assert.NotNull(WaypointRequirement.Problem(mesh.Mesh, mesh.Find("server"), mesh.Find("client").Identity));
        mesh.Pod("server", "10.0.0.2", with: w => w.Waypoint = At("10.0.0.77"));
        Assert.NotNull(WaypointRequirement.Problem(mesh.Mesh, mesh.Find("server"), mesh.Find("client").Identity));
        mesh.Pod("gateway", "10.0.0.77");
        Assert.Null(WaypointRequirement.Problem(mesh.Mesh, mesh.Find("server"), mesh.Find("gateway").Identity));
    }

    [Fact, Scenario("T-24")]
    public void A_tunnel_is_not_shared_with_another_pod_that_got_the_same_address()
    {
        HbonePoolKey Key(string uid) => new(new SpiffeId("td", "a", "b"), [new SpiffeId("td", "c", "d")], new IPEndPoint(PodIp, 15008), IPAddress.Parse("10.0.0.9"), uid);
        Assert.Equal(Key("one"), Key("one"));
        Assert.NotEqual(Key("one"), Key("two"));
    }
}
