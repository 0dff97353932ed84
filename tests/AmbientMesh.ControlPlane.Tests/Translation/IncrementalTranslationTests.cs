using AmbientMesh.ControlPlane.Translation;
using AmbientMesh.Kubernetes;
using AmbientMesh.Protocol.Wds;
using Service = AmbientMesh.Kubernetes.Service;

namespace AmbientMesh.ControlPlane.Tests.Translation;

/// <summary>A change computes and emits what depends on it, and nothing else.</summary>
public class IncrementalTranslationTests
{
    private const int Pods = 200;

    private static Pod PodOf(int number, bool ready = true, string? version = null) => new()
    {
        Metadata = new ObjectMeta
        {
            Name = $"web-{number:000}",
            Namespace = "shop",
            Uid = $"uid-{number}",
            ResourceVersion = version ?? $"{number}",
            Labels = new Dictionary<string, string> { ["app"] = $"app-{number % 10}" },
        },
        Spec = new PodSpec { NodeName = $"n{number % 4}", ServiceAccountName = "web" },
        Status = new PodStatus
        {
            Phase = "Running",
            PodIP = $"10.244.{number % 4}.{number}",
            Conditions = [new Condition { Type = "Ready", Status = ready ? "True" : "False" }],
        },
    };

    private static Service ServiceOf(string app, int targetPort = 8080) => new()
    {
        Metadata = new ObjectMeta { Name = app, Namespace = "shop" },
        Spec = new ServiceSpec
        {
            ClusterIP = "10.96.0.7",
            Selector = new Dictionary<string, string> { ["app"] = app },
            Ports = [new ServicePort { Name = "http", Port = 80, TargetPort = targetPort }],
        },
    };

    private static Node NodeOf(string name, string zone, int heartbeat = 0) => new()
    {
        Metadata = new ObjectMeta { Name = name, ResourceVersion = $"{zone}-{heartbeat}", Labels = new Dictionary<string, string> { ["topology.kubernetes.io/zone"] = zone } },
    };

    private static TranslationWorld World()
    {
        var world = new TranslationWorld()
            .With(Enumerable.Range(0, 4).Select(n => NodeOf($"n{n}", "z1")))
            .With(Enumerable.Range(0, 10).Select(n => ServiceOf($"app-{n}")))
            .With(Enumerable.Range(0, Pods).Select(n => PodOf(n)));
        Assert.Equal(Pods + 10, world.Names.Count());
        world.Changed.Clear();
        return world;
    }

    private static (long Computed, int Emitted) Cost(TranslationWorld world, params KubernetesObject[] change)
    {
        var before = world.Mesh.PodWorkloads.Computations;
        world.Changed.Clear();
        world.With(change);
        return (world.Mesh.PodWorkloads.Computations - before, world.Changed.Count);
    }

    [Fact]
    public void One_pod_that_changes_computes_and_emits_that_pod()
    {
        var world = World();
        Assert.Equal((1, 1), Cost(world, PodOf(17, ready: false, version: "new")));
        Assert.Equal(["Kubernetes//Pod/shop/web-017"], world.Changed);
    }

    [Fact]
    public void A_pod_change_that_the_mesh_does_not_see_emits_nothing() => Assert.Equal((1, 0), Cost(World(), PodOf(17, version: "new")));

    [Fact]
    public void An_object_listed_again_in_the_same_version_computes_nothing() => Assert.Equal((0, 0), Cost(World(), PodOf(17)));

    [Fact]
    public void A_service_change_computes_only_the_pods_it_selects()
    {
        Assert.Equal((Pods / 10, 1 + (Pods / 10)), Cost(World(), ServiceOf("app-3", targetPort: 9090)));
    }

    [Fact]
    public void A_new_service_that_selects_nobody_computes_no_pod() => Assert.Equal((0, 1), Cost(World(), ServiceOf("app-77")));

    [Fact]
    public void A_node_heartbeat_computes_no_pod_and_a_new_zone_those_of_the_node()
    {
        var world = World();
        Assert.Equal((0, 0), Cost(world, NodeOf("n2", "z1", heartbeat: 1)));
        Assert.Equal((Pods / 4, Pods / 4), Cost(world, NodeOf("n2", "z2")));
    }

    [Fact]
    public void The_systems_network_label_moves_everything_and_another_namespaces_nothing()
    {
        var world = World();
        var label = new Dictionary<string, string> { ["topology.istio.io/network"] = "net-2" };
        Assert.Equal((0, 0), Cost(world, new Namespace { Metadata = new ObjectMeta { Name = "shop", Labels = label } }));
        Assert.Equal((Pods, Pods + 10), Cost(world, new Namespace { Metadata = new ObjectMeta { Name = "istio-system", Labels = label } }));
        Assert.Equal("net-2", world.Workload("Kubernetes//Pod/shop/web-000").Network);
    }

    [Fact]
    public void Slices_of_a_service_with_a_selector_move_no_pod()
    {
        var slice = new EndpointSlice
        {
            Metadata = new ObjectMeta { Name = "app-3-x", Namespace = "shop", Labels = new Dictionary<string, string> { [EndpointSlice.ServiceNameLabel] = "app-3" } },
            AddressType = "IPv4",
            Endpoints = [.. Enumerable.Range(0, 20).Select(n => new Endpoint { Addresses = [$"10.244.0.{n}"], TargetRef = new ObjectReference { Kind = "Pod", Name = $"web-{(n * 10) + 3:000}", Namespace = "shop" } })],
        };
        Assert.Equal((0, 0), Cost(World(), slice));
    }

    [Fact]
    public void A_pod_with_an_unusable_address_is_named_and_disturbs_no_other()
    {
        var world = World();
        var bad = PodOf(17, version: "new") with { Status = new PodStatus { Phase = "Running", PodIP = "10.244.1.999" } };
        world.With(bad, PodOf(18, ready: false, version: "new"));
        Assert.Equal(["pod workloads shop/web-017: Pod shop/web-017 has the address '10.244.1.999', which is not an IP address."], world.Failures);
        Assert.Equal(WorkloadStatus.Healthy, world.Workload("Kubernetes//Pod/shop/web-017").Status);   // the last good version stays
        Assert.Equal(WorkloadStatus.Unhealthy, world.Workload("Kubernetes//Pod/shop/web-018").Status);
    }

    [Fact]
    public void A_foreign_trust_domain_and_cluster_are_said_on_the_wire()
    {
        var world = new TranslationWorld(new MeshScope { TrustDomain = "example.org", ClusterId = "east", DomainSuffix = "cluster.test" }).With(PodOf(1), ServiceOf("app-1"));
        var workload = world.Workload("east//Pod/shop/web-001");
        Assert.Equal(("example.org", "east"), (workload.TrustDomain, workload.ClusterId));
        Assert.Equal(["shop/app-1.shop.svc.cluster.test"], workload.Services.Keys);
    }

    [Fact]
    public void Aliases_lead_to_pods_and_services_by_network_and_address_but_not_to_host_network_pods()
    {
        var world = World();
        world.With(PodOf(17, version: "h") with { Spec = new PodSpec { NodeName = "n1", HostNetwork = true } });
        string[] AliasesOf(string name) => [.. world.Mesh.Addresses.Find(name)!.Aliases];
        Assert.Empty(AliasesOf("Kubernetes//Pod/shop/web-017"));
        Assert.Equal(["/10.244.2.18"], AliasesOf("Kubernetes//Pod/shop/web-018"));
        Assert.Equal(["/10.96.0.7"], AliasesOf("shop/app-3.shop.svc.cluster.local"));
    }
}
