using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Tests.Serving;
using AmbientMesh.ControlPlane.Tests.Translation;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Tests.Entries;

/// <summary>ServiceEntries, WorkloadEntries and Gateways on their way from the API server, and what is written back onto them.</summary>
public class EntryServingTests
{
    private const string Named =
        """
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata: {name: api, namespace: default, generation: 1, creationTimestamp: "2026-01-01T00:00:00Z"}
        spec: {hosts: [api.example.com], resolution: DNS, ports: [{number: 443, name: tls}]}

        """;

    private static async Task UntilAsync(Func<bool> condition)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        var limit = Patience.Token;
        while (!condition()) await timer.WaitForNextTickAsync(limit);
    }

    private static JsonObject? StatusOf(FakeCluster cluster, string resource, string name) => cluster.Find(resource, "default", name)?["status"] as JsonObject;

    private static string? ReasonOn(FakeCluster cluster, string resource, string name, string type) =>
        (string?)(StatusOf(cluster, resource, name)?["conditions"] as JsonArray)?.OfType<JsonObject>().FirstOrDefault(c => (string?)c["type"] == type)?["reason"];

    [Fact]
    public async Task Kinds_that_are_not_installed_are_waited_for()
    {
        await using var cluster = await FakeCluster.StartAsync();
        cluster.Unserved.UnionWith(["serviceentries", "workloadentries", "gateways", "gatewayclasses"]);
        cluster.Put(KubernetesObjects.OfYaml(SampleMesh.Yaml));
        await using var world = await ControlPlaneWorld.StartAsync(cluster);
        await world.Process.Readiness.WhenReadyAsync(Patience.Token);
        var stream = await world.DiscoverAsync();
        await stream.OpenWildcardAsync();
        cluster.Put(KubernetesObjects.OfYaml(Named));
        cluster.Install("serviceentries");
        var names = (await stream.TakeAsync()).Resources.Select(r => r.Name).Order(StringComparer.Ordinal);
        Assert.Equal(["Kubernetes/networking.istio.io/ServiceEntry/default/api/api.example.com", "default/api.example.com"], names);
    }

    [Fact]
    public async Task A_host_without_address_is_given_some_which_are_served_and_gives_them_back()
    {
        await using var world = await ControlPlaneWorld.StartAsync(SampleMesh.Yaml);
        world.Cluster.Put(KubernetesObjects.OfYaml(Named));
        await UntilAsync(() => StatusOf(world.Cluster, "serviceentries", "api")?["addresses"] is JsonArray { Count: 2 });
        Assert.Equal("240.240.0.1", (string?)StatusOf(world.Cluster, "serviceentries", "api")!["addresses"]![0]!["value"]);
        var dump = "";
        await UntilAsync(() => (dump = world.GetAsync("/debug/config_dump?type=service&name=default/api.example.com").GetAwaiter().GetResult().Body).Contains("240.240.0.1", StringComparison.Ordinal));
        Assert.Contains("2001:2::1", dump, StringComparison.Ordinal);

        world.Cluster.Put(KubernetesObjects.OfYaml(Named.Replace("resolution: DNS", "resolution: NONE", StringComparison.Ordinal)));
        var entry = world.Cluster.Find("serviceentries", "default", "api")!.DeepClone().AsObject();
        entry["status"] = new JsonObject { ["addresses"] = new JsonArray(new JsonObject { ["host"] = "api.example.com", ["value"] = "240.240.0.1" }) };
        world.Cluster.Put("serviceentries", entry);
        await UntilAsync(() => StatusOf(world.Cluster, "serviceentries", "api")?["addresses"] is JsonArray { Count: 0 });
    }

    [Fact]
    public async Task Authors_are_told_where_their_objects_are_bound_and_what_is_left_out()
    {
        await using var world = await ControlPlaneWorld.StartAsync(SampleMesh.Yaml + "---\n" + """
            apiVersion: v1
            kind: Service
            metadata: {name: bound, namespace: default, labels: {istio.io/use-waypoint: main}}
            spec: {clusterIP: 10.198.0.9, clusterIPs: [10.198.0.9], ports: [{port: 80}]}
            ---
            apiVersion: networking.istio.io/v1
            kind: WorkloadEntry
            metadata: {name: far, namespace: default, generation: 3}
            spec: {address: 192.0.2.1, network: overseas}

            """);
        await UntilAsync(() => ReasonOn(world.Cluster, "services", "bound", "istio.io/WaypointBound") == "WaypointIsNotReady");
        await UntilAsync(() => ReasonOn(world.Cluster, "workloadentries", "far", "ambientmesh.io/Accepted") == "NoNetworkGateway");

        world.Cluster.Put(KubernetesObjects.OfYaml("""
            apiVersion: gateway.networking.k8s.io/v1
            kind: Gateway
            metadata: {name: main, namespace: default}
            spec: {gatewayClassName: istio-waypoint}
            status: {addresses: [{type: IPAddress, value: 10.198.0.99}]}
            """));
        await UntilAsync(() => ReasonOn(world.Cluster, "services", "bound", "istio.io/WaypointBound") == "WaypointAccepted");
        Assert.Contains("10.198.0.99", (await world.GetAsync("/debug/config_dump?type=service&name=default/bound.default.svc.cluster.local")).Body, StringComparison.Ordinal);

        world.Cluster.Put(KubernetesObjects.OfYaml("""
            apiVersion: networking.istio.io/v1
            kind: WorkloadEntry
            metadata: {name: far, namespace: default, generation: 4}
            spec: {address: 192.0.2.1}
            """)[0] is WorkloadEntry near ? near with { Status = new MeshStatus { Conditions = [new MeshCondition { Type = "ambientmesh.io/Accepted", Status = "False", Reason = "NoNetworkGateway" }] } } : null!);
        await UntilAsync(() => StatusOf(world.Cluster, "workloadentries", "far")?["conditions"] is JsonArray { Count: 0 });
    }

    [Fact]
    public async Task The_mesh_configuration_is_read_again_while_running()
    {
        await using var world = await ControlPlaneWorld.StartAsync(SampleMesh.Yaml + "---\n" + Named);
        Task<(int, string Body)> Service() => world.GetAsync("/debug/config_dump?type=service&name=default/api.example.com");
        Assert.DoesNotContain("NAMESPACE", (await Service()).Body, StringComparison.Ordinal);
        ConfigMap Mesh(string text) => new() { Metadata = new ObjectMeta { Name = "istio", Namespace = "istio-system" }, Data = new Dictionary<string, string> { ["mesh"] = text } };
        world.Cluster.Put(Mesh("serviceEntryVisibility: {defaultVisibility: NAMESPACE}"));
        await UntilAsync(() => Service().GetAwaiter().GetResult().Body.Contains("NAMESPACE", StringComparison.Ordinal));
        await UntilAsync(() => ReasonOn(world.Cluster, "serviceentries", "api", "istio.io/VisibilityApplied") == "Namespace");
        world.Cluster.Put(Mesh("serviceEntryVisibility: [not: a mapping"));
        world.Cluster.Put(KubernetesObjects.OfYaml(SampleMesh.Service("later", "10.198.0.77")));
        await UntilAsync(() => world.GetAsync("/debug/config_dump?type=service").GetAwaiter().GetResult().Body.Contains("later", StringComparison.Ordinal));
        Assert.Contains("NAMESPACE", (await Service()).Body, StringComparison.Ordinal);   // what cannot be read leaves the last good one in force
    }
}
