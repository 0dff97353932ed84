using System.Net;
using Wds = AmbientMesh.Protocol.Wds;
using Scope = AmbientMesh.Protocol.Wds.LoadBalancing.Types.Scope;
using Mode = AmbientMesh.Protocol.Wds.LoadBalancing.Types.Mode;

namespace AmbientMesh.Model.Tests;

public sealed class MeshSnapshotTests
{
    private static NetworkAddress At(string ip) => new("", IPAddress.Parse(ip));

    [Fact, Scenario("L4-051")]
    public void An_exact_vip_wins_over_the_range_around_it()
    {
        var mesh = new MeshBuilder().Service("range", "10.0.0.0/24").Service("exact", "10.0.0.5").Mesh;
        Assert.Equal("exact", mesh.FindService(At("10.0.0.5"), "default")!.Name);
        Assert.Equal("range", mesh.FindService(At("10.0.0.6"), "default")!.Name);
        Assert.Null(mesh.FindService(At("10.0.1.6"), "default"));
    }

    [Fact, Scenario("L4-052")]
    public void Of_two_ranges_the_clients_namespace_goes_before_the_longer_prefix()
    {
        var mesh = new MeshBuilder().Service("wide", "10.0.0.0/16", ns: "mine").Service("narrow", "10.0.0.0/24", ns: "theirs").Mesh;
        Assert.Equal("wide", mesh.FindService(At("10.0.0.6"), "mine")!.Name);
        Assert.Equal("narrow", mesh.FindService(At("10.0.0.6"), "other")!.Name);
    }

    [Fact, Scenario("L4-053")]
    public void A_private_vip_of_another_namespace_is_not_seen()
    {
        var mesh = new MeshBuilder().Service("private", "10.0.0.5", ns: "theirs", with: s => s.Visibility = Wds.Service.Types.Visibility.Namespace).Service("range", "10.0.0.0/24").Mesh;
        Assert.Equal("range", mesh.FindService(At("10.0.0.5"), "mine")!.Name);
        Assert.Equal("private", mesh.FindService(At("10.0.0.5"), "theirs")!.Name);
    }

    [Fact, Scenario("L4-054")]
    public void A_shared_vip_goes_to_the_clients_namespace_then_the_canonical_then_the_first()
    {
        var builder = new MeshBuilder().Service("a", "10.0.0.5", ns: "a", with: s => s.Canonical = false).Service("b", "10.0.0.5", ns: "b", with: s => s.Canonical = false).Service("c", "10.0.0.5", ns: "c");
        Assert.Equal("b", builder.Mesh.FindService(At("10.0.0.5"), "b")!.Name);
        Assert.Equal("c", builder.Mesh.FindService(At("10.0.0.5"), "other")!.Name);
        builder.Store.Edit(edit => edit.RemoveAddress("c/c.c.svc.cluster.local"));
        builder.Service("a", "10.0.0.5", "81:81", "a", s => s.Canonical = false);   // an update keeps its place
        Assert.Equal("a", builder.Mesh.FindService(At("10.0.0.5"), "other")!.Name);
    }

    [Fact, Scenario("L4-055")]
    public void A_workload_waits_for_its_service()
    {
        var builder = new MeshBuilder().Pod("p", "10.0.0.1", with: w => w.Backs("s"));
        Assert.Equal("default/s.default.svc.cluster.local", Assert.Single(builder.Mesh.StagedServices).Service.ToString());
        builder.Service("s", "10.1.0.1");
        Assert.Empty(builder.Mesh.StagedServices);
        Assert.Equal("p", Assert.Single(builder.Mesh.Endpoints(builder.FindService("s"))).Workload.Name);
    }

    [Fact, Scenario("L4-056")]
    public void An_updated_service_keeps_its_endpoints_and_leaves_its_old_vips()
    {
        var builder = new MeshBuilder().Service("s", "10.1.0.1,10.1.0.2").Pod("p", "10.0.0.1", with: w => w.Backs("s")).Service("s", "10.1.0.2,10.1.0.3");
        Assert.Single(builder.Mesh.Endpoints(builder.FindService("s")));
        Assert.Null(builder.Mesh.FindService(At("10.1.0.1"), "default"));
        Assert.Same(builder.FindService("s"), builder.Mesh.FindService(At("10.1.0.2"), "default"));
        Assert.NotNull(builder.Mesh.FindService(At("10.1.0.3"), "default"));
    }

    [Fact]
    public void An_updated_workload_leaves_its_old_addresses_and_services()
    {
        var builder = new MeshBuilder().Service("s").Pod("p", "10.0.0.1", with: w => w.Backs("s")).Pod("p", "10.0.0.2");
        Assert.Null(builder.Mesh.FindWorkload(At("10.0.0.1")));
        Assert.NotNull(builder.Mesh.FindWorkload(At("10.0.0.2")));
        Assert.Empty(builder.Mesh.Endpoints(builder.FindService("s")));
    }

    [Fact, Scenario("L4-045")]
    public void Unhealthy_endpoints_are_left_out_unless_the_service_wants_them()
    {
        var builder = new MeshBuilder().Service("s").Pod("p", "10.0.0.1", with: w => w.Backs("s").Status = Wds.WorkloadStatus.Unhealthy);
        Assert.Empty(builder.Mesh.Endpoints(builder.FindService("s")));
        builder.Service("s", with: s => s.LoadBalancing = new Wds.LoadBalancing { HealthPolicy = Wds.LoadBalancing.Types.HealthPolicy.AllowAll });
        Assert.Single(builder.Mesh.Endpoints(builder.FindService("s")));
    }

    [Fact, Scenario("L4-058")]
    public void Host_network_workloads_are_never_found_by_address()
    {
        var builder = new MeshBuilder().Pod("host", "10.0.0.9", with: w => w.NetworkMode = Wds.NetworkMode.HostNetwork);
        Assert.Null(builder.Mesh.FindWorkload(At("10.0.0.9")));
        builder.Pod("pod", "10.0.0.9").Pod("host2", "10.0.0.9", with: w => w.NetworkMode = Wds.NetworkMode.HostNetwork);
        Assert.Equal("pod", builder.Mesh.FindWorkload(At("10.0.0.9"))!.Name);
    }

    [Fact]
    public void Of_several_workloads_on_one_address_the_hbone_pod_is_taken()
    {
        var builder = new MeshBuilder()
            .Pod("entry", "10.0.0.9", with: w => w.Uid = "Kubernetes/networking.istio.io/WorkloadEntry/default/entry")
            .Pod("plain", "10.0.0.9", with: w => w.TunnelProtocol = Wds.TunnelProtocol.None)
            .Pod("hbone", "10.0.0.9");
        Assert.Equal("hbone", builder.Mesh.FindWorkload(At("10.0.0.9"))!.Name);
        builder.Store.Edit(edit => edit.RemoveAddress(MeshBuilder.UidOf("hbone")));
        Assert.Equal("plain", builder.Mesh.FindWorkload(At("10.0.0.9"))!.Name);
    }

    [Fact]
    public void A_pod_is_known_by_name_namespace_and_account_together()
    {
        var mesh = new MeshBuilder().Pod("p", "10.0.0.1").Mesh;
        Assert.NotNull(mesh.FindWorkload(new WorkloadInfo("p", "default", "p")));
        Assert.Null(mesh.FindWorkload(new WorkloadInfo("p", "default", "other")));
        Assert.Null(mesh.FindWorkload(new WorkloadInfo("p", "other", "p")));
    }

    [Fact]
    public void Local_identities_count_hbone_workloads_of_the_node()
    {
        var builder = new MeshBuilder("n1").Pod("a", "10.0.0.1", with: w => w.ServiceAccount = "x").Pod("b", "10.0.0.2", with: w => w.ServiceAccount = "x")
            .Pod("far", with: w => w.Node = "n2").Pod("plain", with: w => w.TunnelProtocol = Wds.TunnelProtocol.None);
        var only = Assert.Single(builder.Mesh.LocalIdentities);
        Assert.Equal(("spiffe://cluster.local/ns/default/sa/x", 2), (only.Key.ToString(), only.Value));
        builder.Store.Edit(edit => { edit.RemoveAddress(MeshBuilder.UidOf("a")); edit.RemoveAddress(MeshBuilder.UidOf("b")); });
        Assert.Empty(builder.Mesh.LocalIdentities);
    }

    [Fact]
    public async Task Readers_wake_on_a_change_and_keep_what_they_hold()
    {
        var builder = new MeshBuilder();
        var seen = builder.Mesh;
        var waiting = builder.Store.WhenAsync(mesh => mesh.FindWorkload(At("10.0.0.2")), Patience.Token);
        builder.Pod("a", "10.0.0.1");
        Assert.False(waiting.IsCompleted);
        builder.Pod("b", "10.0.0.2");
        Assert.Equal("b", (await Patience.Within(waiting.AsTask())).Name);
        Assert.Equal(0, seen.WorkloadCount);
        Assert.Same(builder.Mesh, builder.Store.Edit(edit => edit.RemoveAddress("unknown")));
    }

    [Fact, Scenario("L4-046")]
    public void Strict_node_without_a_local_endpoint_has_none()
    {
        var builder = new MeshBuilder().Pod("client", "10.0.0.1").Service("s", with: s => s.Balanced(Mode.Strict, Scope.Node)).Pod("far", "10.0.0.2", with: w => { w.Backs("s"); w.Node = "n2"; });
        Assert.Null(Choose(builder));
        builder.Pod("near", "10.0.0.3", with: w => w.Backs("s"));
        Assert.Equal("near", Choose(builder)!.Workload.Name);
    }

    [Fact, Scenario("L4-047")]
    public void Failover_takes_the_zone_then_the_region_then_any()
    {
        var builder = new MeshBuilder().Pod("client", "10.0.0.1", with: w => w.In("r1", "z1")).Service("s", with: s => s.Balanced(Mode.Failover, Scope.Region, Scope.Zone))
            .Pod("zone", "10.0.0.2", with: w => w.Backs("s").In("r1", "z1")).Pod("region", "10.0.0.3", with: w => w.Backs("s").In("r1", "z2")).Pod("any", "10.0.0.4", with: w => w.Backs("s").In("r2", "z1"));
        foreach (var expected in (string[])["zone", "region", "any"])
        {
            Assert.Equal(expected, Choose(builder)!.Workload.Name);
            builder.Store.Edit(edit => edit.RemoveAddress(MeshBuilder.UidOf(expected)));
        }
    }

    [Fact, Scenario("L4-048")]
    public void Failover_keeps_the_own_network_before_a_near_region_elsewhere()
    {
        var builder = new MeshBuilder().Pod("client", "10.0.0.1", with: w => w.In("r1", "z1")).Service("s", with: s => s.Balanced(Mode.Failover, Scope.Network, Scope.Region, Scope.Zone))
            .Pod("remote", "10.0.0.2", with: w => { w.Backs("s").In("r1", "z1"); w.Network = "net2"; }).Pod("local", "10.0.0.3", with: w => w.Backs("s").In("r2", "z2"));
        Assert.Equal("local", Choose(builder)!.Workload.Name);
    }

    [Fact, Scenario("L4-057")]
    public void Capacity_weighs_and_zero_takes_nothing()
    {
        var builder = new MeshBuilder().Pod("client", "10.0.0.1").Service("s").Pod("one", "10.0.0.2", with: w => { w.Backs("s"); w.Capacity = 1; })
            .Pod("nine", "10.0.0.3", with: w => { w.Backs("s"); w.Capacity = 9; }).Pod("zero", "10.0.0.4", with: w => { w.Backs("s"); w.Capacity = 0; });
        var random = new Random(7);
        var drawn = Enumerable.Range(0, 10_000).Select(_ => EndpointSelection.Choose(builder.Mesh, builder.Find("client"), builder.FindService("s"), 80, EndpointUse.Standard, random)!.Workload.Name).CountBy(n => n).ToDictionary();
        Assert.InRange(drawn["one"], 850, 1150);
        Assert.False(drawn.ContainsKey("zero"));
        builder.Store.Edit(edit => { edit.RemoveAddress(MeshBuilder.UidOf("one")); edit.RemoveAddress(MeshBuilder.UidOf("nine")); });
        Assert.Null(Choose(builder));
    }

    [Fact]
    public void Endpoints_to_avoid_are_drawn_from_only_when_no_other_can_be()
    {
        var builder = new MeshBuilder().Pod("client", "10.0.0.1", with: w => w.In("r", "z")).Service("s", with: s => s.Balanced(Wds.LoadBalancing.Types.Mode.Failover, Wds.LoadBalancing.Types.Scope.Region, Wds.LoadBalancing.Types.Scope.Zone))
            .Pod("near", "10.0.0.2", with: w => w.In("r", "z").Backs("s")).Pod("far", "10.0.0.3", with: w => w.In("r", "y").Backs("s"))
            .Pod("spent", "10.0.0.4", with: w => { w.In("r", "z").Backs("s"); w.Capacity = 0; });
        Assert.Equal("near", Choose(builder)!.Workload.Name);
        Assert.Equal("far", Choose(builder, "near")!.Workload.Name);
        Assert.Equal("near", Choose(builder, "none")!.Workload.Name);
        Assert.Equal("near", Choose(builder, "near", "far")!.Workload.Name);   // as if none were to be avoided: spent can never be drawn

        var trace = new DecisionTrace();
        EndpointSelection.Choose(builder.Mesh, builder.Find("client"), builder.FindService("s"), 80, EndpointUse.Standard, Random.Shared, trace, w => w.Name == "near");
        Assert.Equal(EndpointFitness.Avoided, Assert.Single(trace.Searches).Endpoints.Single(e => e.Endpoint.Workload.Name == "near").Fitness);
        trace = new DecisionTrace();
        EndpointSelection.Choose(builder.Mesh, builder.Find("client"), builder.FindService("s"), 80, EndpointUse.Standard, Random.Shared, trace, _ => true);
        Assert.DoesNotContain(Assert.Single(trace.Searches).Endpoints, e => e.Fitness == EndpointFitness.Avoided);
    }

    [Fact]
    public void Plaintext_that_is_nearer_does_not_hide_a_farther_stand_in_and_another_network_has_none()
    {
        var builder = new MeshBuilder().Pod("client", "10.0.0.1", with: w => w.In("r", "z")).Service("s", with: s => s.Balanced(Wds.LoadBalancing.Types.Mode.Failover, Wds.LoadBalancing.Types.Scope.Region, Wds.LoadBalancing.Types.Scope.Zone))
            .Pod("near", "10.0.0.2", with: w => w.In("r", "z").Backs("s")).Pod("plain", "10.0.0.3", with: w => { w.In("r", "z").Backs("s"); w.TunnelProtocol = Wds.TunnelProtocol.None; })
            .Pod("remote", "10.0.0.5", with: w => { w.In("r", "z").Backs("s"); w.Network = "other"; });
        var any = Enumerable.Range(0, 400).Select(_ => Choose(builder, "near")!.Workload.Name).Distinct().Order();
        Assert.Equal(["near", "plain", "remote"], any);     // nobody can stand in: as if it were not avoided
        builder.Pod("far", "10.0.0.4", with: w => w.In("r", "y").Backs("s"));
        for (var i = 0; i < 100; i++) Assert.Equal("far", Choose(builder, "near")!.Workload.Name);
    }

    [Fact]
    public void An_endpoint_in_the_mesh_is_avoided_only_for_others_in_the_mesh()
    {
        var builder = new MeshBuilder().Pod("client", "10.0.0.1").Service("s").Pod("one", "10.0.0.2", with: w => w.Backs("s"))
            .Pod("plain", "10.0.0.4", with: w => { w.Backs("s"); w.TunnelProtocol = Wds.TunnelProtocol.None; w.Capacity = 1000; });
        Assert.Contains("one", Enumerable.Range(0, 20_000).Select(_ => Choose(builder, "one")!.Workload.Name));   // as if it were not avoided: one in 1,001

        builder.Pod("two", "10.0.0.3", with: w => w.Backs("s"));
        for (var i = 0; i < 100; i++) Assert.Equal("two", Choose(builder, "one")!.Workload.Name);
        var trace = new DecisionTrace();
        EndpointSelection.Choose(builder.Mesh, builder.Find("client"), builder.FindService("s"), 80, EndpointUse.Standard, Random.Shared, trace, w => w.Name == "one");
        Assert.Equal(EndpointFitness.NoStandIn, Assert.Single(trace.Searches).Endpoints.Single(e => e.Endpoint.Workload.Name == "plain").Fitness);
        for (var i = 0; i < 100; i++) Assert.NotEqual("plain", Choose(builder, "plain")!.Workload.Name);
    }

    private static ChosenEndpoint? Choose(MeshBuilder builder, params string[] avoided) =>
        EndpointSelection.Choose(builder.Mesh, builder.Find("client"), builder.FindService("s"), 80, EndpointUse.Standard, Random.Shared, avoid: avoided.Length == 0 ? null : w => avoided.Contains(w.Name));
}
