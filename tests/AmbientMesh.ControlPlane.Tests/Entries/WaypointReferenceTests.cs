using AmbientMesh.ControlPlane.Tests.Translation;
using AmbientMesh.Kubernetes;
using Service = AmbientMesh.Kubernetes.Service;

namespace AmbientMesh.ControlPlane.Tests.Entries;

/// <summary>What happens to references to waypoints as Gateways come, change and go (l7 reference 3.4).</summary>
public class WaypointReferenceTests
{
    private const string Name = "shop/web.shop.svc.cluster.local";

    private static string Gateway(string? address = "10.96.9.1", string uid = "1") =>
        $$"""
        apiVersion: gateway.networking.k8s.io/v1
        kind: Gateway
        metadata: {name: main, namespace: shop, uid: "{{uid}}" }
        spec: {gatewayClassName: anything}
        status: {addresses: [{{(address is null ? "" : $"{{value: {address}}}")}}]}
        """;

    private static TranslationWorld World(string labels = "istio.io/use-waypoint: main", string namespaceLabels = "x: y") => new TranslationWorld().WithYaml(
        $$"""
        apiVersion: v1
        kind: Namespace
        metadata: {name: shop, labels: { {{namespaceLabels}} } }
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: web, namespace: shop, labels: { {{labels}} } }
        spec: {clusterIP: 10.96.0.7, ports: [{port: 80}]}
        """);

    [Fact]
    [Scenario("L4-031")]
    public void A_service_that_opts_out_of_its_namespaces_waypoint_has_none()
    {
        Assert.NotNull(World("a: b", "istio.io/use-waypoint: main").WithYaml(Gateway()).Service(Name).Waypoint);
        var world = World("istio.io/use-waypoint: none", "istio.io/use-waypoint: main").WithYaml(Gateway());
        Assert.Null(world.Service(Name).Waypoint);
        Assert.Empty(world.Conditions(Service.Type, "shop", "web"));
    }

    [Fact]
    [Scenario("L4-032")]
    public void A_deleted_gateway_leaves_the_service_without_waypoint_and_says_so()
    {
        var world = World().WithYaml(Gateway());
        Assert.Equal(["istio.io/WaypointBound=True WaypointAccepted"], world.Conditions(Service.Type, "shop", "web"));
        world.Graph.Apply(() => world.Mesh.Waypoints.Gateways.Remove(new ObjectKey("shop", "main")));
        Assert.Null(world.Service(Name).Waypoint);
        Assert.Equal(["istio.io/WaypointBound=False WaypointIsNotReady"], world.Conditions(Service.Type, "shop", "web"));
    }

    [Fact]
    public void A_broken_reference_does_not_fall_back_to_the_namespaces()
    {
        var world = World("istio.io/use-waypoint: bogus", "istio.io/use-waypoint: main").WithYaml(Gateway());
        Assert.Null(world.Service(Name).Waypoint);
        Assert.Equal(["istio.io/WaypointBound=False WaypointIsNotReady"], world.Conditions(Service.Type, "shop", "web"));
    }

    [Fact]
    public void A_gateway_that_had_an_address_stays_a_waypoint_without_one_until_it_is_replaced()
    {
        var world = World().WithYaml(Gateway()).WithYaml(Gateway(address: null));
        Assert.NotNull(world.Service(Name).Waypoint);
        world.WithYaml(Gateway(address: "10.96.9.2"));
        Assert.Equal([10, 96, 9, 2], world.Service(Name).Waypoint.Address.Address.ToByteArray());
        world.WithYaml(Gateway(address: null, uid: "2"));
        Assert.Null(world.Service(Name).Waypoint);
    }

    [Fact]
    public void Only_what_refers_to_a_gateway_moves_with_it()
    {
        var world = World().WithYaml(Gateway());
        world.WithYaml("""
            apiVersion: v1
            kind: Service
            metadata: {name: other, namespace: shop}
            spec: {clusterIP: 10.96.0.8, ports: [{port: 80}]}
            """);
        world.Changed.Clear();
        world.WithYaml(Gateway(address: "10.96.9.3"));
        Assert.Equal([Name], world.Changed);
    }

    [Theory]
    [InlineData("addresses: [10.0.0.300]", "", "ambientmesh.io/Accepted=False InvalidAddress")]
    [InlineData("addresses: [10.0.0.0/40]", "", "ambientmesh.io/Accepted=False InvalidAddress")]
    [InlineData("ports: [{number: 70000, name: http}]", "", "ambientmesh.io/Accepted=False InvalidPort")]
    [InlineData("addresses: [10.0.0.9]", "serviceEntryVisibility: {defaultVisibility: NONE}", "istio.io/VisibilityApplied=True None")]
    [InlineData("addresses: [10.0.0.9]", "", "istio.io/WaypointBound=True WaypointAccepted")]
    public void An_entry_that_is_not_served_is_bound_to_no_waypoint(string addresses, string configuration, string condition)
    {
        var world = new TranslationWorld().WithYaml($$$"""
            apiVersion: v1
            kind: ConfigMap
            metadata: {name: istio, namespace: istio-system}
            data: {mesh: "{{{configuration}}}"}
            ---
            apiVersion: gateway.networking.k8s.io/v1
            kind: Gateway
            metadata: {name: main, namespace: shop}
            spec: {gatewayClassName: x, listeners: [{name: m, port: 15008, protocol: HBONE}]}
            status: {addresses: [{value: 10.96.9.1}]}
            ---
            apiVersion: networking.istio.io/v1
            kind: ServiceEntry
            metadata: {name: e, namespace: shop, labels: {istio.io/use-waypoint: main}}
            spec: {hosts: [a.example.com], resolution: STATIC, {{{addresses}}} }
            """);
        Assert.Equal([condition], world.Conditions(ServiceEntry.Type, "shop", "e"));
    }

    [Fact]
    public void An_entry_kept_in_its_namespace_is_not_bound_elsewhere()
    {
        var world = new TranslationWorld().WithYaml("""
            apiVersion: v1
            kind: ConfigMap
            metadata: {name: istio, namespace: istio-system}
            data: {mesh: "serviceEntryVisibility: {defaultVisibility: NAMESPACE}"}
            ---
            apiVersion: gateway.networking.k8s.io/v1
            kind: Gateway
            metadata: {name: main, namespace: infra}
            spec: {gatewayClassName: x, listeners: [{name: m, port: 15008, protocol: HBONE, allowedRoutes: {namespaces: {from: All}}}]}
            status: {addresses: [{value: 10.96.9.1}]}
            ---
            apiVersion: networking.istio.io/v1
            kind: ServiceEntry
            metadata: {name: e, namespace: shop, labels: {istio.io/use-waypoint: main, istio.io/use-waypoint-namespace: infra}}
            spec: {hosts: [a.example.com], resolution: DNS, ports: [{number: 80, name: http}]}
            """);
        Assert.Null(world.Service("shop/a.example.com").Waypoint);
        Assert.Equal(["istio.io/VisibilityApplied=True Namespace", "istio.io/WaypointBound=False CrossNamespaceWaypointForbidden"], world.Conditions(ServiceEntry.Type, "shop", "e"));
    }
}
