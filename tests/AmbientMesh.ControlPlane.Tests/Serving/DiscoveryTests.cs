using AmbientMesh.ControlPlane.Tests.Translation;
using AmbientMesh.Protocol.Discovery;
using AmbientMesh.Protocol.Wds;
using AmbientMesh.Xds;

namespace AmbientMesh.ControlPlane.Tests.Serving;

/// <summary>A ztunnel's sessions, with its recorded requests, against the whole control plane.</summary>
public class DiscoveryTests
{
    private const string Client = "Kubernetes//Pod/default/client";
    private const string Server = "Kubernetes//Pod/default/server";
    private const string ServerService = "default/server.default.svc.cluster.local";

    private static IEnumerable<string> Names(DeltaDiscoveryResponse response) => response.Resources.Select(r => r.Name).Order(StringComparer.Ordinal);

    private static Address Body(DeltaDiscoveryResponse response, string name) => Address.Parser.ParseFrom(response.Resources.Single(r => r.Name == name).Resource_.Value);

    private static DeltaDiscoveryRequest Subscribe(params string[] names) => new() { TypeUrl = TypeUrls.Address, ResourceNamesSubscribe = { names } };

    [Fact]
    [Scenario("L4-130")]
    public async Task An_empty_world_answers_both_types_with_nothing()
    {
        await using var world = await ControlPlaneWorld.StartAsync();
        var stream = await world.DiscoverAsync();
        var addresses = await stream.OpenWildcardAsync();
        Assert.Empty(addresses.Resources);
        Assert.NotEmpty(addresses.Nonce);
    }

    [Fact]
    public async Task The_recorded_wildcard_session_gets_the_resources_it_was_satisfied_with()
    {
        await using var world = await ControlPlaneWorld.StartAsync(SampleMesh.Yaml);
        var stream = await world.DiscoverAsync();
        var addresses = await stream.OpenWildcardAsync();

        var recorded = Recorded("workload-Kubernetes_Pod_default_client.hex");
        Assert.Equal(recorded, Body(addresses, Client));
        var service = Recorded("service-default_server.default.svc.cluster.local.hex");
        service.Service.IpFamilies = Body(addresses, ServerService).Service.IpFamilies;   // the stand-in left it out
        Assert.Equal(service, Body(addresses, ServerService));
        var resource = addresses.Resources.Single(r => r.Name == Client);
        Assert.Equal(["/10.98.0.1", "/fd98::1"], resource.Aliases);
        Assert.Matches("^[0-9a-f]{16}$", resource.Version);

        static Address Recorded(string file) => Address.Parser.ParseFrom(Samples.Hex("samples/ztunnel/xds/resources/" + file));
    }

    [Fact]
    public async Task One_pod_that_changes_is_one_resource_sent()
    {
        await using var world = await ControlPlaneWorld.StartAsync(SampleMesh.Yaml);
        var stream = await world.DiscoverAsync();
        await stream.OpenWildcardAsync();

        world.Cluster.Put(KubernetesObjects.OfYaml(SampleMesh.Pod("server", "n1", "10.98.0.2", "fd98::2", ready: false)));
        var push = await stream.TakeAsync();
        Assert.Equal([Server], Names(push));
        Assert.Equal(WorkloadStatus.Unhealthy, Body(push, Server).Workload.Status);

        world.Cluster.Delete("pods", "default", "server");
        push = await stream.TakeAsync();
        Assert.Empty(push.Resources);
        Assert.Equal([Server], push.RemovedResources);
    }

    [Fact]
    [Scenario("L4-134", "L4-135")]
    public async Task A_client_that_comes_back_to_another_replica_gets_only_what_changed_and_what_is_gone()
    {
        await using var cluster = await FakeCluster.StartAsync();
        cluster.Put(KubernetesObjects.OfYaml(SampleMesh.Yaml));
        var held = new Dictionary<string, string>();
        await using (var first = await ControlPlaneWorld.StartAsync(cluster))
        {
            await first.Process.Readiness.WhenReadyAsync(Patience.Token);
            foreach (var resource in (await (await first.DiscoverAsync()).OpenWildcardAsync()).Resources) held[resource.Name] = resource.Version;
        }

        cluster.Delete("pods", "default", "client");
        cluster.Put(KubernetesObjects.OfYaml(SampleMesh.Pod("server", "n1", "10.98.0.2", "fd98::2", ready: false)));
        await using var second = await ControlPlaneWorld.StartAsync(cluster);
        await second.Process.Readiness.WhenReadyAsync(Patience.Token);
        var stream = await second.DiscoverAsync();
        var request = DiscoveryStream.Recorded("wildcard/01-c2s-address-first.hex");
        request.InitialResourceVersions.Add(held);
        await stream.SendAsync(request);
        var answer = await stream.TakeAsync();
        Assert.Equal([Server], Names(answer));
        Assert.Equal([Client], answer.RemovedResources);
    }

    [Fact]
    [Scenario("L4-134")]
    public async Task The_recorded_reconnect_is_told_which_of_its_resources_are_gone()
    {
        await using var world = await ControlPlaneWorld.StartAsync(SampleMesh.Yaml);
        var stream = await world.DiscoverAsync();
        var request = DiscoveryStream.Recorded("wildcard/45-c2s-address-first-initial-versions.hex");
        await stream.SendAsync(request);
        var answer = await stream.TakeAsync();
        var present = new HashSet<string>([Client, Server, "Kubernetes//Pod/default/hb", "Kubernetes//Pod/default/other", ServerService, "default/hb.default.svc.cluster.local"]);
        Assert.Equal(request.InitialResourceVersions.Keys.Except(present).Order(StringComparer.Ordinal), answer.RemovedResources.Order(StringComparer.Ordinal));
        Assert.Contains(Server, Names(answer));   // held in another version
    }

    [Fact]
    [Scenario("L4-136", "L4-137")]
    public async Task The_recorded_on_demand_session_gets_its_node_then_what_it_asks_for()
    {
        await using var world = await ControlPlaneWorld.StartAsync(SampleMesh.Yaml);
        var stream = await world.DiscoverAsync();
        await stream.SendRecordedAsync("on-demand/01-c2s-address-first-subscribe-unsubscribe.hex");
        Assert.Equal([Client, Server, "Kubernetes//Pod/istio-system/ztunnel-abcde"], Names(await stream.TakeAsync()));

        await stream.SendAsync(Subscribe("/10.98.0.3"));   // a pod of another node, by its address
        var pod = await stream.TakeAsync();
        Assert.Equal("other", Body(pod, "/10.98.0.3").Workload.Name);   // ztunnel waits for exactly that name

        await stream.SendAsync(Subscribe("/10.198.0.5"));   // a VIP brings the workloads behind it
        var service = await stream.TakeAsync();
        Assert.Equal("hb", Body(service, "/10.198.0.5").Service.Name);
        Assert.Contains("Kubernetes//Pod/default/hb", Names(service));

        await stream.SendRecordedAsync("on-demand/10-c2s-address-request-subscribe.hex");   // /10.98.0.6, which nobody has
        var unknown = await stream.TakeAsync();
        Assert.Equal((0, "/10.98.0.6"), (unknown.Resources.Count, Assert.Single(unknown.RemovedResources)));

        world.Cluster.Put(KubernetesObjects.OfYaml(SampleMesh.Pod("hb", "n2", "10.98.0.5", "fd98::5", ready: false)));   // later pushes cover what came along
        Assert.Equal(["Kubernetes//Pod/default/hb"], Names(await stream.TakeAsync()));

        world.Cluster.Put(KubernetesObjects.OfYaml(SampleMesh.Pod("late", "n2", "10.98.0.6", null)));   // and names that come to exist
        Assert.Equal(["/10.98.0.6"], Names(await stream.TakeAsync()));

        world.Cluster.Put(KubernetesObjects.OfYaml(SampleMesh.Pod("elsewhere", "n2", "10.98.0.7", null)));   // but not the rest of the world
        world.Cluster.Put(KubernetesObjects.OfYaml(SampleMesh.Pod("local", "n1", "10.98.0.8", null)));
        Assert.Equal(["Kubernetes//Pod/default/local"], Names(await stream.TakeAsync()));
    }

    [Fact]
    [Scenario("L4-132")]
    public async Task A_rejection_is_shown_and_the_session_goes_on()
    {
        await using var world = await ControlPlaneWorld.StartAsync(SampleMesh.Yaml);
        var stream = await world.DiscoverAsync();
        await stream.SendRecordedAsync("wildcard/01-c2s-address-first.hex");
        var addresses = await stream.ReadAsync();
        await stream.SendAsync(new DeltaDiscoveryRequest
        {
            TypeUrl = addresses.TypeUrl,
            ResponseNonce = addresses.Nonce,
            ErrorDetail = new AmbientMesh.Protocol.Rpc.Status { Message = $"{Client}: address is not 4 or 16 bytes long" },
        });
        world.Cluster.Put(KubernetesObjects.OfYaml(SampleMesh.Pod("late", "n2", "10.98.0.6", null)));
        Assert.Equal(["Kubernetes//Pod/default/late"], Names(await stream.TakeAsync()));

        var (_, sync) = await world.GetAsync("/debug/syncz");
        Assert.Contains("address is not 4 or 16 bytes long", sync, StringComparison.Ordinal);
        Assert.Contains("pilot_total_xds_rejects{type=\"wds\"} 1", (await world.GetAsync("/metrics", monitoring: true)).Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_unchanged_world_sends_nothing_and_the_workload_type_is_served_as_well()
    {
        await using var world = await ControlPlaneWorld.StartAsync(SampleMesh.Yaml);
        var stream = await world.DiscoverAsync();
        await stream.OpenWildcardAsync();
        await stream.SendAsync(new DeltaDiscoveryRequest { TypeUrl = TypeUrls.Workload });
        var workloads = await stream.TakeAsync();
        Assert.All(workloads.Resources, r => Assert.Equal(r.Name, Workload.Parser.ParseFrom(r.Resource_.Value).Uid));

        world.Cluster.Put(KubernetesObjects.OfYaml(SampleMesh.Pod("server", "n1", "10.98.0.2", "fd98::2")));   // a new version without a difference
        world.Cluster.Put(KubernetesObjects.OfYaml(SampleMesh.Pod("late", "n2", "10.98.0.6", null)));
        Assert.Equal(["Kubernetes//Pod/default/late"], Names(await stream.TakeAsync()));   // nothing was sent before it
    }
}
