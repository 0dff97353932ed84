using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Tests.Policy;

/// <summary>What policies with targetRefs say of the waypoint that is to enforce them (l7 reference 3.5, condition WaypointAccepted).</summary>
public class WaypointPolicyTests
{
    private const string Objects =
        """
        apiVersion: gateway.networking.k8s.io/v1
        kind: GatewayClass
        metadata: {name: istio-waypoint}
        spec: {controllerName: istio.io/mesh-controller}
        ---
        apiVersion: gateway.networking.k8s.io/v1
        kind: GatewayClass
        metadata: {name: ingress}
        spec: {controllerName: example.com/ingress}
        ---
        apiVersion: gateway.networking.k8s.io/v1
        kind: Gateway
        metadata: {name: main, namespace: shop}
        spec: {gatewayClassName: istio-waypoint}
        status: {addresses: [{value: 10.96.9.1}]}
        ---
        apiVersion: gateway.networking.k8s.io/v1
        kind: Gateway
        metadata: {name: starting, namespace: shop}
        spec: {gatewayClassName: istio-waypoint}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: bound, namespace: shop, labels: {istio.io/use-waypoint: main} }
        spec: {clusterIP: 10.96.0.7, ports: [{port: 80}]}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: plain, namespace: shop}
        spec: {clusterIP: 10.96.0.8, ports: [{port: 80}]}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: broken, namespace: shop, labels: {istio.io/use-waypoint: starting} }
        spec: {clusterIP: 10.96.0.9, ports: [{port: 80}]}
        ---
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata: {name: outside, namespace: shop, labels: {istio.io/use-waypoint: main} }
        spec: {hosts: [a.example.com], resolution: DNS, ports: [{number: 80, name: http}]}
        ---

        """;

    private static string Attached(string targets, string ns = "shop") => $"kind: AuthorizationPolicy\nmetadata: {{name: p, namespace: {ns}, generation: 7}}\nspec: {{action: DENY, {targets}, rules: [{{}}]}}\n";

    private static PolicyWorld World(string targets, string ns = "shop") => new PolicyWorld().With(Objects + Attached(targets, ns));

    private static string ConditionOf(PolicyWorld world, string ns = "shop")
    {
        var status = world.Objects.Mesh.Policies.AuthorizationPolicyReports.Find(new ObjectKey(ns, "p"))!.ToStatus();
        var condition = Assert.Single(status.Wanted);
        Assert.Equal(("istio-ambient-waypoint-policy", "WaypointAccepted", 7L), (status.Manager, condition.Type, condition.ObservedGeneration));
        return $"{condition.Status} {condition.Reason}: {condition.Message}";
    }

    [Theory, Scenario("L4-104")]
    [InlineData("targetRefs: [{kind: Service, name: bound}]", "True Accepted: bound to shop/main. ")]
    [InlineData("targetRef: {kind: Service, name: bound}", "True Accepted: bound to shop/main. ")]
    [InlineData("targetRefs: [{kind: ServiceEntry, group: networking.istio.io, name: outside}]", "True Accepted: bound to shop/main. ")]
    [InlineData("targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: main}]", "True Accepted: bound to shop/main. ")]
    [InlineData("targetRefs: [{kind: Service, name: plain}]", "False AncestorNotBound: Service shop/plain is not bound to a waypoint")]
    [InlineData("targetRefs: [{kind: Service, name: broken}]", "False AncestorNotBound: Service shop/broken is not bound to a waypoint: Gateway shop/starting is missing or has no address")]
    [InlineData("targetRefs: [{kind: Service, name: gone}]", "False TargetNotFound: Service shop/gone was not found")]
    [InlineData("targetRefs: [{kind: ServiceEntry, name: gone}]", "False TargetNotFound: ServiceEntry shop/gone was not found")]
    [InlineData("targetRefs: [{kind: Gateway, name: starting}]", "False TargetNotFound: Gateway shop/starting was not found or has no address")]
    [InlineData("targetRefs: [{kind: GatewayClass, name: istio-waypoint}]", "False Invalid: A policy for a GatewayClass must be in the root namespace istio-system.")]
    [InlineData("targetRefs: [{kind: ConfigMap, name: bound}]", "False Invalid: A policy cannot be attached to a ConfigMap")]
    [InlineData("targetRefs: [{kind: Service, name: bound, namespace: other}]", "False Invalid: Service.core:other/bound is in another namespace")]
    [InlineData("targetRefs: [{kind: Service}]", "False Invalid: What the policy is attached to cannot be read")]
    [InlineData("targetRef: nonsense", "False Invalid: What the policy is attached to cannot be read")]
    [InlineData("targetRefs: [{kind: Service, name: bound}, {kind: Gateway, group: gateway.networking.k8s.io, name: main}]", "True Accepted: bound to Service.core:shop/bound, Gateway.gateway.networking.k8s.io:shop/main. ")]
    [InlineData("targetRefs: [{kind: Service, name: bound}, {kind: Service, name: plain}, {kind: Gateway, group: gateway.networking.k8s.io, name: gone}]",
        "True PartiallyInvalid: Invalid targetRefs: Service.core:shop/plain, Gateway.gateway.networking.k8s.io:shop/gone. ")]
    [InlineData("targetRefs: [{kind: Service, name: plain}, {kind: Service, name: gone}]", "False Invalid: Invalid targetRefs: Service.core:shop/plain, Service.core:shop/gone")]
    public void The_condition_says_whether_there_is_a_waypoint_to_enforce_it(string targets, string expected)
    {
        var world = World(targets);
        Assert.StartsWith(expected, ConditionOf(world), StringComparison.Ordinal);
        Assert.Empty(world.Objects.Mesh.Authorizations.Items);   // never ztunnel's
        Assert.Empty(world.Objects.Failures);
    }

    [Theory]
    [InlineData("istio-waypoint", "True Accepted: bound to istio-waypoint. ")]
    [InlineData("ingress", "False Invalid: GatewayClass ingress is not of waypoints")]
    [InlineData("gone", "False TargetNotFound: GatewayClass gone was not found")]
    public void In_the_root_namespace_a_class_of_waypoints_can_be_meant(string name, string expected) =>
        Assert.StartsWith(expected, ConditionOf(World($"targetRefs: [{{kind: GatewayClass, group: gateway.networking.k8s.io, name: {name}}}]", "istio-system"), "istio-system"), StringComparison.Ordinal);

    [Fact]
    public void It_follows_the_service_and_the_gateway()
    {
        var world = World("targetRefs: [{kind: Service, name: bound}]");
        world.Objects.Graph.Apply(() => world.Objects.Mesh.Waypoints.Gateways.Remove(new ObjectKey("shop", "main")));
        Assert.StartsWith("False AncestorNotBound", ConditionOf(world), StringComparison.Ordinal);
        world.Objects.Graph.Apply(() => world.Objects.Mesh.Services.Remove(new ObjectKey("shop", "bound")));
        Assert.StartsWith("False TargetNotFound", ConditionOf(world), StringComparison.Ordinal);
    }

    [Fact]
    public void A_condition_from_before_it_was_attached_or_detached_is_taken_back()
    {
        string Status(string type) => $"status: {{conditions: [{{type: {type}, status: 'True', reason: Accepted, message: m, observedGeneration: 6}}, {{type: other.example/Seen, status: 'True'}}]}}\n";
        var attached = new PolicyWorld().With(Objects + Attached("targetRefs: [{kind: Service, name: bound}]") + Status("ZtunnelAccepted")).Objects.Mesh.Policies.AuthorizationPolicyReports.Items.Single().Value.ToStatus();
        Assert.Equal((true, "WaypointAccepted", "ZtunnelAccepted"), (attached.IsDue, Assert.Single(attached.Wanted).Type, Assert.Single(attached.Present).Type));
        var detached = new PolicyWorld().With(Attached("selector: {}") + Status("WaypointAccepted")).Objects.Mesh.Policies.AuthorizationPolicyReports.Items.Single().Value.ToStatus();
        Assert.Equal((true, "ZtunnelAccepted", "WaypointAccepted"), (detached.IsDue, Assert.Single(detached.Wanted).Type, Assert.Single(detached.Present).Type));
    }
}
