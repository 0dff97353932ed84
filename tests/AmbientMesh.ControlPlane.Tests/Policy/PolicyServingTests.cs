using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Serving;
using AmbientMesh.ControlPlane.Tests.Serving;
using AmbientMesh.ControlPlane.Tests.Translation;
using AmbientMesh.Kubernetes.Tests;
using AmbientMesh.Protocol.Discovery;
using AmbientMesh.Protocol.Wds;
using AmbientMesh.Xds;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Tests.Policy;

/// <summary>Policies on their way from the API server to ztunnel, and the answer on their way back.</summary>
public class PolicyServingTests
{
    private static void Put(FakeCluster cluster, string yaml)
    {
        foreach (var policy in KubernetesObjects.JsonOfYaml(yaml))
            cluster.Put((string?)policy["kind"] == "AuthorizationPolicy" ? "authorizationpolicies" : "peerauthentications", policy);
    }

    private static JsonObject? Condition(FakeCluster cluster, string resource, string ns, string name, string type = "ZtunnelAccepted") =>
        (cluster.Find(resource, ns, name)?["status"]?["conditions"] as JsonArray)?.OfType<JsonObject>().FirstOrDefault(c => (string?)c["type"] == type);

    private static async Task UntilAsync(Func<bool> condition)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        var patience = Patience.Token;
        while (!condition()) await timer.WaitForNextTickAsync(patience);
    }

    private static string[] PoliciesOf(DeltaDiscoveryResponse response, string uid) =>
        [.. Address.Parser.ParseFrom(response.Resources.Single(r => r.Name == uid).Resource_.Value).Workload.AuthorizationPolicies];

    [Fact]
    public async Task Kinds_that_are_not_installed_do_not_keep_it_from_serving_and_are_found_when_they_are()
    {
        await using var cluster = await FakeCluster.StartAsync();
        cluster.Unserved.UnionWith(["authorizationpolicies", "peerauthentications"]);
        cluster.Put(KubernetesObjects.OfYaml(SampleMesh.Yaml));
        await using var world = await ControlPlaneWorld.StartAsync(cluster);
        await world.Process.Readiness.WhenReadyAsync(Patience.Token);
        var stream = await world.DiscoverAsync();
        await stream.OpenWildcardAsync();

        Put(cluster, "kind: AuthorizationPolicy\nmetadata: {name: deny, namespace: default}\nspec: {action: DENY, rules: [{}]}");
        cluster.Install("authorizationpolicies");

        var answer = await stream.TakeAsync();
        Assert.Equal((TypeUrls.Authorization, "default/deny"), (answer.TypeUrl, Assert.Single(answer.Resources).Name));
    }

    [Fact]
    public async Task A_policy_arrives_before_the_workloads_that_name_it_and_leaves_after()
    {
        await using var world = await ControlPlaneWorld.StartAsync(SampleMesh.Yaml);
        var stream = await world.DiscoverAsync();
        await stream.OpenWildcardAsync();
        const string server = "Kubernetes//Pod/default/server";
        const string strict = "istio-system/istio_converted_static_strict";

        Put(world.Cluster, "kind: PeerAuthentication\nmetadata: {name: default, namespace: istio-system}\nspec: {mtls: {mode: STRICT}}");
        var policy = await stream.TakeAsync();
        Assert.Equal(strict, Assert.Single(policy.Resources).Name);
        Assert.Equal([strict], PoliciesOf(await stream.TakeAsync(), server));

        world.Cluster.Delete("peerauthentications", "istio-system", "default");
        Assert.Empty(PoliciesOf(await stream.TakeAsync(), server));
        var removal = await stream.TakeAsync();
        Assert.Equal((TypeUrls.Authorization, strict), (removal.TypeUrl, Assert.Single(removal.RemovedResources)));
    }

    [Fact]
    public async Task An_object_that_was_made_anew_is_told_anew()
    {
        await using var cluster = await FakeCluster.StartAsync();
        using var client = new AmbientMesh.Kubernetes.KubernetesClient(cluster.Connection);
        using var stop = new CancellationTokenSource();
        var policies = new PolicyWorld();
        var reports = new StatusReports(policies.Objects.Mesh);
        var writing = new AmbientMesh.ControlPlane.Kubernetes.StatusWriting(client, reports, Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance).RunAsync(stop.Token);
        JsonObject Policy(string uid) => KubernetesObjects.JsonOfYaml($"kind: AuthorizationPolicy\nmetadata: {{name: p, namespace: default, generation: 1, uid: {uid}}}\nspec: {{}}").Single();
        foreach (var uid in (string[])["first", "second"])
        {
            cluster.Put("authorizationpolicies", Policy(uid));
            policies.With(Policy(uid));   // at once: its going is not seen by itself
            await UntilAsync(() => Condition(cluster, "authorizationpolicies", "default", "p") is not null);
        }
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Patience.Within(writing));
    }

    [Fact]
    public async Task An_object_that_is_deleted_while_its_status_is_written_is_no_failure()
    {
        const string Policies = "/apis/security.istio.io/v1/namespaces/default/authorizationpolicies";
        await using var api = await MemoryApi.StartAsync();
        api.Fault = request => request.Method == "PATCH" ? 404 : 0;   // it was there a moment ago
        using var client = api.Client();
        using var stop = new CancellationTokenSource();
        var policies = new PolicyWorld();
        var log = new Lines();
        var writing = new AmbientMesh.ControlPlane.Kubernetes.StatusWriting(client, new StatusReports(policies.Objects.Mesh), log).RunAsync(stop.Token);
        foreach (var name in (string[])["first", "second"])
        {
            var policy = KubernetesObjects.JsonOfYaml($"kind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: default, generation: 1, uid: {name}}}\nspec: {{}}").Single();
            api.Put(Policies, policy.ToJsonString());
            policies.With(policy);
            await UntilAsync(() => Written(name) > 0);
        }
        Assert.Equal((1, 0), (Written("first"), log.Count));   // a round ends before the next begins
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Patience.Within(writing));

        int Written(string name) => api.Requests.Count(request => request.Method == "PATCH" && request.Path.StartsWith($"{Policies}/{name}/", StringComparison.Ordinal));
    }

    private sealed class Lines : ILogger
    {
        private int _count;

        public int Count => Volatile.Read(ref _count);
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;
        public bool IsEnabled(LogLevel logLevel) => true;
        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => Interlocked.Increment(ref _count);
    }

    /// <summary>Ready, and so published, with the policies there from the start.</summary>
    private static async Task<ControlPlaneWorld> StartedWithAsync(FakeCluster cluster, string policies)
    {
        Put(cluster, policies);
        cluster.Put(KubernetesObjects.OfYaml(SampleMesh.Yaml));
        var world = await ControlPlaneWorld.StartAsync(cluster);
        await world.Process.Readiness.WhenReadyAsync(Patience.Token);
        return world;
    }

    [Fact]
    public async Task On_the_first_stream_and_on_every_other_policies_come_first_though_they_are_asked_for_last()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var world = await StartedWithAsync(cluster, "kind: PeerAuthentication\nmetadata: {name: default, namespace: istio-system}\nspec: {mtls: {mode: STRICT}}");
        const string strict = "istio-system/istio_converted_static_strict";
        foreach (var held in new[] { "", "shop/gone" })
        {
            var stream = await world.DiscoverAsync();
            await stream.SendRecordedAsync("wildcard/01-c2s-address-first.hex");
            var policies = DiscoveryStream.Recorded("wildcard/03-c2s-authorization-first.hex");
            if (held.Length > 0) policies.InitialResourceVersions[held] = "";
            await stream.SendAsync(policies);
            var first = await stream.TakeAsync();
            Assert.Equal((TypeUrls.Authorization, strict), (first.TypeUrl, Assert.Single(first.Resources).Name));
            Assert.Empty(first.RemovedResources);   // workloads the client holds may still name what is gone
            var second = await stream.TakeAsync();
            Assert.Equal([strict], PoliciesOf(second, "Kubernetes//Pod/default/server"));
            if (held.Length == 0) continue;
            var third = await stream.TakeAsync();
            Assert.Equal((TypeUrls.Authorization, held), (third.TypeUrl, Assert.Single(third.RemovedResources)));
        }
    }

    [Fact]
    public async Task A_policy_narrowed_to_some_workloads_is_named_by_them_before_it_stops_reaching_all()
    {
        await using var cluster = await FakeCluster.StartAsync();
        string Deny(string selector, int generation) => $"kind: AuthorizationPolicy\nmetadata: {{name: deny, namespace: default, generation: {generation}}}\nspec: {{action: DENY, {selector} rules: [{{}}]}}";
        await using var world = await StartedWithAsync(cluster, Deny("", 1));
        var stream = await world.DiscoverAsync();
        await stream.OpenWildcardAsync();

        Put(world.Cluster, Deny("selector: {matchLabels: {app: server}},", 2));
        var named = await stream.TakeAsync();
        Assert.Equal(["default/deny"], PoliciesOf(named, "Kubernetes//Pod/default/server"));
        var narrowed = await stream.TakeAsync();
        Assert.Equal((TypeUrls.Authorization, Protocol.Security.Scope.WorkloadSelector), (narrowed.TypeUrl, Protocol.Security.Authorization.Parser.ParseFrom(Assert.Single(narrowed.Resources).Resource_.Value).Scope));

        Put(world.Cluster, Deny("", 3));
        Assert.Equal(TypeUrls.Authorization, (await stream.TakeAsync()).TypeUrl);   // wide again: first the policy, then those that no longer need to name it
        Assert.Empty(PoliciesOf(await stream.TakeAsync(), "Kubernetes//Pod/default/server"));
    }

    [Fact]
    public async Task A_client_that_never_asks_for_policies_gets_its_workloads_all_the_same()
    {
        await using var world = await ControlPlaneWorld.StartAsync(SampleMesh.Yaml);
        var stream = await world.DiscoverAsync();
        await stream.SendRecordedAsync("wildcard/01-c2s-address-first.hex");
        Assert.Equal(TypeUrls.Address, (await stream.TakeAsync()).TypeUrl);
    }

    [Fact]
    public async Task The_leader_tells_each_author_what_became_of_the_policy_and_keeps_what_others_say()
    {
        await using var world = await ControlPlaneWorld.StartAsync(SampleMesh.Yaml);
        Put(world.Cluster, """
            kind: AuthorizationPolicy
            metadata: {name: http, namespace: default, generation: 2}
            spec: {rules: [{to: [{operation: {methods: [GET]}}]}]}
            status: {conditions: [{type: WaypointAccepted, status: 'True', reason: Accepted}, {type: example.com/Reviewed, status: 'True'}]}
            ---
            kind: AuthorizationPolicy
            metadata: {name: attached, namespace: default, generation: 4}
            spec: {targetRefs: [{kind: Service, name: server}], rules: [{}]}
            status: {conditions: [{type: ZtunnelAccepted, status: 'True', reason: Accepted}]}
            ---
            kind: AuthorizationPolicy
            metadata: {name: broken, namespace: default, generation: 1}
            spec: {action: MAYBE}
            ---
            kind: PeerAuthentication
            metadata: {name: fine, namespace: default, generation: 1}
            spec: {mtls: {mode: STRICT}}
            """);
        await UntilAsync(() => Condition(world.Cluster, "authorizationpolicies", "default", "http") is not null
            && Condition(world.Cluster, "authorizationpolicies", "default", "broken") is not null && Condition(world.Cluster, "peerauthentications", "default", "fine") is not null);

        var http = Condition(world.Cluster, "authorizationpolicies", "default", "http")!;
        Assert.Equal(("True", "UnsupportedValue", 2), ((string?)http["status"], (string?)http["reason"], (int)http["observedGeneration"]!));
        Assert.Contains("methods", (string?)http["message"], StringComparison.Ordinal);
        Assert.NotNull(Condition(world.Cluster, "authorizationpolicies", "default", "http", "example.com/Reviewed"));
        Assert.Null(Condition(world.Cluster, "authorizationpolicies", "default", "http", "WaypointAccepted"));   // from when it was attached to something
        Assert.Equal("False", (string?)Condition(world.Cluster, "authorizationpolicies", "default", "broken")!["status"]);
        Assert.Equal("Accepted", (string?)Condition(world.Cluster, "peerauthentications", "default", "fine")!["reason"]);

        await UntilAsync(() => Condition(world.Cluster, "authorizationpolicies", "default", "attached", "WaypointAccepted") is not null);
        var attached = Condition(world.Cluster, "authorizationpolicies", "default", "attached", "WaypointAccepted")!;
        Assert.Equal(("False", "AncestorNotBound", 4), ((string?)attached["status"], (string?)attached["reason"], (int)attached["observedGeneration"]!));
        Assert.Null(Condition(world.Cluster, "authorizationpolicies", "default", "attached"));
        Assert.Contains("ambientmesh_policies{kind=\"AuthorizationPolicy\",outcome=\"refused\"} 2", (await world.GetAsync("/metrics", monitoring: true)).Body, StringComparison.Ordinal);
    }
}
