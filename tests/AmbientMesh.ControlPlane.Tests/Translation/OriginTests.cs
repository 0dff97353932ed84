using AmbientMesh.ControlPlane.Tests.Policy;
using AmbientMesh.Xds;

namespace AmbientMesh.ControlPlane.Tests.Translation;

/// <summary>Every resource on the wire knows the objects that made it.</summary>
public class OriginTests
{
    private const string Strict =
        """
        apiVersion: security.istio.io/v1
        kind: PeerAuthentication
        metadata: {name: default, namespace: shop, generation: 4, resourceVersion: "40", creationTimestamp: "2026-01-01T00:00:00Z"}
        spec: {mtls: {mode: STRICT}}
        """;

    private static PolicyWorld World(string more = "") => new PolicyWorld().With(
        $$"""
        apiVersion: v1
        kind: Pod
        metadata: {name: web-0, namespace: shop, generation: 2, resourceVersion: "7", labels: {app: web} }
        spec: {nodeName: n1, serviceAccountName: web}
        status: {phase: Running, podIP: 10.244.1.5}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: web, namespace: shop, resourceVersion: "8"}
        spec: {clusterIP: 10.96.0.7, ports: [{port: 80}]}
        ---
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: {name: web-1, namespace: shop, resourceVersion: "9", labels: {kubernetes.io/service-name: web} }
        addressType: IPv4
        endpoints: [{addresses: [192.0.2.10]}]
        ports: [{name: "", port: 8080}]
        ---
        {{Policy(generation: 3)}}
        {{more}}
        """);

    private static string Policy(int generation, string action = "ALLOW") =>
        $$"""
        apiVersion: security.istio.io/v1
        kind: AuthorizationPolicy
        metadata: {name: web, namespace: shop, generation: {{generation}}, resourceVersion: "1{{generation}}" }
        spec: {action: {{action}}, selector: {matchLabels: {app: web} } }
        """;

    private static string[] Of(PolicyWorld world, string name) => [.. world.Objects.Mesh.OriginsOf(name).Select(o => $"{ShortOf(o.TypeUrl)} {o.Origin.Type.ApiVersion} {o.Origin} version {o.Origin.ResourceVersion}")];

    private static string ShortOf(string typeUrl) => typeUrl == TypeUrls.Address ? "address:" : "authorization:";

    [Fact]
    public void A_resource_names_the_object_that_made_it_and_its_version()
    {
        var world = World();
        Assert.Equal(["address: v1 Pod shop/web-0 generation 2 version 7"], Of(world, "Kubernetes//Pod/shop/web-0"));
        Assert.Equal(["address: v1 Service shop/web generation 0 version 8"], Of(world, "shop/web.shop.svc.cluster.local"));
        Assert.Equal(
            ["address: discovery.k8s.io/v1 EndpointSlice shop/web-1 generation 0 version 9", "address: v1 Service shop/web generation 0 version 8"],
            Of(world, "Kubernetes/discovery.k8s.io/EndpointSlice/shop/web-1/192.0.2.10"));
        Assert.Equal(["authorization: security.istio.io/v1 AuthorizationPolicy shop/web generation 3 version 13"], Of(world, "shop/web"));
        Assert.Empty(Of(world, "shop/nosuch"));
    }

    [Fact]
    public void Every_resource_has_one()
    {
        var world = World($"---\n{Strict}\n---\n{Ports}");
        foreach (var name in world.Objects.Names.Concat(world.Objects.Mesh.Authorizations.Items.Select(i => i.Key))) Assert.True(world.Objects.Mesh.OriginsOf(name).Any(), name);
        Assert.Equal(3, world.Objects.Mesh.Authorizations.Count);
    }

    private const string Ports =
        """
        apiVersion: security.istio.io/v1
        kind: PeerAuthentication
        metadata: {name: ports, namespace: shop, generation: 1, resourceVersion: "41", creationTimestamp: "2026-01-02T00:00:00Z"}
        spec: {selector: {matchLabels: {app: web}}, portLevelMtls: {"8080": {mode: PERMISSIVE}}}
        """;

    [Fact]
    public void A_converted_policy_names_its_own_object_and_the_one_it_inherits_from()
    {
        var world = World($"---\n{Strict}\n---\n{Ports}");
        const string Default = "authorization: security.istio.io/v1 PeerAuthentication shop/default generation 4 version 40";
        Assert.Equal(["authorization: security.istio.io/v1 PeerAuthentication shop/ports generation 1 version 41", Default], Of(world, "shop/converted_peer_authentication_ports"));
        Assert.Equal([Default], Of(world, "istio-system/istio_converted_static_strict"));
    }

    [Fact]
    public void A_new_generation_is_named_though_nothing_else_changed_and_nothing_is_sent()
    {
        var world = World();
        world.Objects.Changed.Clear();
        world.With(Policy(generation: 4));
        Assert.Equal(["authorization: security.istio.io/v1 AuthorizationPolicy shop/web generation 4 version 14"], Of(world, "shop/web"));
        world.With("""
            apiVersion: v1
            kind: Service
            metadata: {name: web, namespace: shop, resourceVersion: "80"}
            spec: {clusterIP: 10.96.0.7, ports: [{port: 80}]}
            """);
        Assert.Equal(["address: v1 Service shop/web generation 0 version 80"], Of(world, "shop/web.shop.svc.cluster.local"));
        Assert.Empty(world.Objects.Changed);
    }

    [Fact]
    public void Of_an_object_whose_newest_version_cannot_be_used_the_version_in_force_is_named()
    {
        var world = World();
        world.With(Policy(generation: 5, action: "PERHAPS"));
        Assert.NotEmpty(world.Objects.Failures);
        Assert.Equal(["authorization: security.istio.io/v1 AuthorizationPolicy shop/web generation 3 version 13"], Of(world, "shop/web"));
    }
}
