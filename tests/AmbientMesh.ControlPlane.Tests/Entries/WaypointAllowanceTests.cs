using AmbientMesh.ControlPlane.Tests.Policy;
using AmbientMesh.ControlPlane.Tests.Serving;
using AmbientMesh.ControlPlane.Tests.Translation;
using AmbientMesh.ControlPlane.Translation;
using AmbientMesh.Kubernetes;
using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Model.Decoding;
using AmbientMesh.Protocol.Security;
using AmbientMesh.Xds;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.ControlPlane.Tests.Entries;

/// <summary>PILOT_AUTO_ALLOW_WAYPOINT_POLICY: what is behind a waypoint allows the waypoint by itself.</summary>
public class WaypointAllowanceTests
{
    private const string Allow = "infra/istio_allow_waypoint_infra_main";
    private const string OwnAllow = "shop/istio_allow_waypoint_shop_own";
    private const string Waypoint = "spiffe://cluster.local/ns/infra/sa/main-istio-waypoint";
    private const string Client = "spiffe://cluster.local/ns/shop/sa/client";
    private const string UseMain = "istio.io/use-waypoint: main, istio.io/use-waypoint-namespace: infra";

    private static MeshScope On { get; } = new() { AllowsFromWaypoints = true };

    private static string Gateway(string ns, string name, string labels = "x: y") =>
        $$"""
        apiVersion: gateway.networking.k8s.io/v1
        kind: Gateway
        metadata: {name: {{name}}, namespace: {{ns}}, generation: 3, resourceVersion: "5", labels: { {{labels}} } }
        spec:
          gatewayClassName: istio-waypoint
          listeners: [{name: mesh, port: 15008, protocol: HBONE, allowedRoutes: {namespaces: {from: All} } }]
        status: {addresses: [{type: IPAddress, value: 10.96.9.1}]}
        ---

        """;

    private static string Pod(string ns, string name, string ip, string account, string labels) =>
        $$"""
        apiVersion: v1
        kind: Pod
        metadata: {name: {{name}}, namespace: {{ns}}, labels: { {{labels}} } }
        spec: {nodeName: n1, serviceAccountName: {{account}} }
        status: {phase: Running, podIP: {{ip}}, conditions: [{type: Ready, status: "True"}]}
        ---

        """;

    private static string Instance(string ns, string gateway, string name, string ip, string account) =>
        Pod(ns, name, ip, account, $"gateway.networking.k8s.io/gateway-name: {gateway}");

    private static string Service(string labels, string name = "web", string ns = "shop") =>
        $$"""
        apiVersion: v1
        kind: Service
        metadata: {name: {{name}}, namespace: {{ns}}, labels: { {{labels}} } }
        spec: {clusterIP: 10.96.0.7, selector: {app: {{name}} }, ports: [{port: 80}]}
        ---

        """;

    private static PolicyWorld World(MeshScope? scope = null, string more = "") => new PolicyWorld(scope ?? On).With(
        Gateway("infra", "main") + Instance("infra", "main", "main-1", "10.244.3.1", "main-istio-waypoint") + Instance("infra", "main", "main-2", "10.244.3.2", "main-istio-waypoint")
        + Service(UseMain) + Pod("shop", "web", "10.244.0.9", "web", "app: web") + Pod("shop", "db", "10.244.0.10", "db", "app: db") + more + "kind: Node\nmetadata: {name: n1}\n");

    [Fact]
    public void It_is_off_unless_asked_for()
    {
        var world = World(new MeshScope());
        Assert.Empty(world.NamedBy("shop", "web"));
        Assert.Empty(world.Objects.Mesh.Authorizations.Items);
        Assert.True(world.Allows("shop", "web", Client));
    }

    [Fact, Scenario("T-33")]
    public void Pods_of_a_service_behind_a_waypoint_are_reached_through_it_alone()
    {
        var world = World();
        Assert.Equal([Allow], world.NamedBy("shop", "web"));
        Assert.Empty(world.NamedBy("shop", "db"));
        Assert.Empty(world.NamedBy("infra", "main-1"));   // the waypoint itself is reached by all
        Assert.True(world.Allows("shop", "web", Waypoint));
        Assert.IsType<AuthorizationVerdict.NotAllowed>(world.Judge("shop", "web", Client));
        Assert.False(world.Allows("shop", "web", null));
        Assert.True(world.Allows("shop", "db", Client));
        Assert.Equal(["AuthorizationPolicy", "Gateway"], new[] { Decider.Of(new PolicyName("shop", "x")), Decider.Of(new PolicyName("infra", "istio_allow_waypoint_infra_main")) }.Select(d => d.Kind));
    }

    [Fact]
    public void The_policy_is_upstreams()
    {
        var world = World();
        var (name, policy) = Assert.Single(world.Objects.Mesh.Authorizations.Items);
        Assert.Equal(Allow, name);
        Assert.Equal(("infra", "istio_allow_waypoint_infra_main", Scope.WorkloadSelector, Protocol.Security.Action.Allow), (policy.Namespace, policy.Name, policy.Scope, policy.Action));
        var match = Assert.Single(Assert.Single(Assert.Single(policy.Rules).Clauses).Matches);
        Assert.Equal("cluster.local/ns/infra/sa/main-istio-waypoint", Assert.Single(match.Principals).Exact);
        Assert.Equal("Gateway infra/main generation 3", Assert.Single(world.Objects.Mesh.OriginsOf(Allow)).Origin.ToString());
    }

    [Fact]
    public void Other_allow_policies_still_let_in_whom_they_name()
    {
        var world = World(more: "kind: AuthorizationPolicy\nmetadata: {name: client, namespace: shop}\nspec: {selector: {matchLabels: {app: web}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/client]}}]}]}\n---\n");
        Assert.Equal(["shop/client", Allow], world.NamedBy("shop", "web"));
        Assert.True(world.Allows("shop", "web", Client));
        Assert.True(world.Allows("shop", "web", Waypoint));
        Assert.False(world.Allows("shop", "web", "spiffe://cluster.local/ns/shop/sa/other"));
    }

    [Fact]
    public void A_workload_behind_two_waypoints_allows_both()
    {
        var world = World(more: Gateway("shop", "own", "istio.io/waypoint-for: workload") + Instance("shop", "own", "own-1", "10.244.3.3", "own")
            + Pod("shop", "web", "10.244.0.9", "web", "app: web, istio.io/use-waypoint: own"));
        Assert.Equal([Allow, OwnAllow], world.NamedBy("shop", "web"));
        Assert.True(world.Allows("shop", "web", "spiffe://cluster.local/ns/shop/sa/own"));
        Assert.True(world.Allows("shop", "web", Waypoint));
    }

    [Fact]
    public void The_canary_of_a_service_is_allowed_as_well_since_it_gets_a_part_of_the_traffic()
    {
        var world = World(more: Gateway("shop", "own") + Instance("shop", "own", "own-1", "10.244.3.3", "own")
            + Service(UseMain + ", istio.io/use-waypoint-canary: own, istio.io/use-waypoint-canary-namespace: shop"));
        Assert.Equal([Allow, OwnAllow], world.NamedBy("shop", "web"));
    }

    [Fact]
    public void A_waypoint_without_pods_has_no_identity_to_allow_and_its_accounts_follow_its_pods()
    {
        var world = World();
        void Remove(string pod) => world.Objects.Graph.Apply(() => world.Objects.Mesh.Pods.Remove(new ObjectKey("infra", pod)));
        Remove("main-1");
        Assert.Equal([Allow], world.NamedBy("shop", "web"));
        Remove("main-2");
        Assert.Empty(world.NamedBy("shop", "web"));
        Assert.Empty(world.Objects.Mesh.Authorizations.Items);
        world.With(Instance("infra", "main", "main-3", "10.244.3.4", "renamed") + "kind: Node\nmetadata: {name: n1}\n");
        Assert.True(world.Allows("shop", "web", "spiffe://cluster.local/ns/infra/sa/renamed"));
        Assert.False(world.Allows("shop", "web", Waypoint));
    }

    [Fact]
    public void A_binding_that_comes_and_goes_moves_the_pods_behind_it_and_no_others()
    {
        var world = World();
        world.Objects.Changed.Clear();
        world.With(Service("a: b") + "kind: Node\nmetadata: {name: n1}\n");
        Assert.Empty(world.NamedBy("shop", "web"));
        Assert.Equal(["Kubernetes//Pod/shop/web", "shop/web.shop.svc.cluster.local"], world.Objects.Changed.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void The_endpoints_of_a_service_entry_allow_their_waypoint()
    {
        var world = World(more: """
            apiVersion: networking.istio.io/v1
            kind: ServiceEntry
            metadata: {name: vm, namespace: shop, labels: {istio.io/use-waypoint: main, istio.io/use-waypoint-namespace: infra}}
            spec: {hosts: [vm.example.com], resolution: STATIC, ports: [{number: 80, name: http}], endpoints: [{address: 192.0.2.7}]}
            ---

            """);
        Assert.Equal([Allow], world.Objects.Workload("Kubernetes/networking.istio.io/ServiceEntry/shop/vm/192.0.2.7").AuthorizationPolicies);
    }

    [Fact]
    public async Task A_ztunnel_gets_the_policy_first_and_then_the_workloads_that_name_it()
    {
        await using var world = await ControlPlaneWorld.StartAsync(
            SampleMesh.Yaml + "---\n" + Gateway("infra", "main").TrimEnd('-', '\n') + "\n", ControlPlaneWorld.Settings with { AllowsFromWaypoints = true });
        var stream = await world.DiscoverAsync();
        await stream.OpenWildcardAsync();

        world.Cluster.Put(KubernetesObjects.OfYaml(Instance("infra", "main", "main-1", "10.98.0.40", "main-istio-waypoint").TrimEnd('-', '\n') + "\n"));
        var policies = await stream.TakeAsync();
        Assert.Equal((TypeUrls.Authorization, Allow), (policies.TypeUrl, Assert.Single(policies.Resources).Name));
        Assert.Equal("Kubernetes//Pod/infra/main-1", Assert.Single((await stream.TakeAsync()).Resources).Name);

        var bound = SampleMesh.Service("server", "10.198.0.2").Replace("name: server, namespace: default", $"name: server, namespace: default, labels: {{{UseMain}}}", StringComparison.Ordinal);
        world.Cluster.Put(KubernetesObjects.OfYaml(bound));
        var addresses = await stream.TakeAsync();
        var server = Wds.Address.Parser.ParseFrom(addresses.Resources.Single(r => r.Name == "Kubernetes//Pod/default/server").Resource_.Value).Workload;
        Assert.Equal([Allow], server.AuthorizationPolicies);

        // As a ztunnel reads it.
        Assert.True(PolicyDecoding.TryDecode(Authorization.Parser.ParseFrom(policies.Resources[0].Resource_.Value), out var policy, out var reason), reason);
        Assert.True(policy.Matches(new ConnectionFacts(new SpiffeId("cluster.local", "infra", "main-istio-waypoint"), System.Net.IPAddress.Loopback, new System.Net.IPEndPoint(System.Net.IPAddress.Loopback, 8080))));
        Assert.False(policy.Matches(new ConnectionFacts(new SpiffeId("cluster.local", "default", "client"), System.Net.IPAddress.Loopback, new System.Net.IPEndPoint(System.Net.IPAddress.Loopback, 8080))));
    }
}
