using System.Net;
using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Kubernetes;
using AmbientMesh.ControlPlane.Serving;
using AmbientMesh.ControlPlane.Settings;
using AmbientMesh.Integration.Tests.Ztunnel;
using AmbientMesh.Kubernetes;
using AmbientMesh.Lab.Api.Http;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Integration.Tests.Kubernetes;

/// <summary>The control plane as its ServiceAccount, with the rights of our manifests and no others, on an API server that holds objects to our definitions.</summary>
public sealed class SourcesInAClusterTests
{
    private static readonly ResourceType Policies = new("security.istio.io", "v1", "authorizationpolicies", "AuthorizationPolicy", IsNamespaced: true);

    private const string Objects = """
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata: {name: api, namespace: default}
        spec: {hosts: [api.example.com], resolution: DNS, ports: [{number: 443, name: tls, protocol: TLS}]}
        ---
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata: {name: api-too, namespace: default}
        spec: {hosts: [api.example.com], resolution: DNS, ports: [{number: 443, name: tls, protocol: TLS}]}
        ---
        apiVersion: networking.istio.io/v1
        kind: WorkloadEntry
        metadata: {name: far, namespace: default}
        spec: {address: 192.0.2.1, network: overseas}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: bound, namespace: default, labels: {istio.io/use-waypoint: main}}
        spec: {ports: [{port: 80}]}
        ---
        apiVersion: security.istio.io/v1
        kind: AuthorizationPolicy
        metadata: {name: http, namespace: default}
        spec: {rules: [{to: [{operation: {methods: [GET]}}]}]}
        """;

    [Fact]
    public async Task Addresses_and_conditions_are_written_with_the_rights_of_our_manifests()
    {
        await using var cluster = await ClusterApi.StartAsync();
        foreach (var file in Directory.GetFiles(Path.Combine(Samples.Root, "deploy", "crds"), "*.yaml")) await cluster.ApplyAsync($"crds/{Path.GetFileName(file)}");
        foreach (var manifest in (string[])["namespace.yaml", "controlplane/serviceaccount.yaml", "controlplane/rbac.yaml"]) await cluster.ApplyAsync(manifest);
        using var client = await cluster.ClientOfAsync("istio-system", "istiod");
        using var lines = new LogCollector();
        using var logs = LoggerFactory.Create(logging => logging.SetMinimumLevel(LogLevel.Information).AddProvider(lines));
        var any = new ListenAddress("127.0.0.1", 0);
        var settings = new ControlPlaneSettings { PodName = "istiod-0", Http = any, PlaintextGrpc = any, SecureGrpc = any, Monitoring = any, PluggedCaFolder = "/nonexistent", DebounceQuiet = TimeSpan.FromMilliseconds(20) };
        await using var controlPlane = await ControlPlaneProcess.StartAsync(settings, client.Connection, TimeProvider.System, logs, Patience.Token);
        await controlPlane.Readiness.WhenReadyAsync(Patience.Token);

        foreach (var item in YamlText.ParseAll(Objects)) await cluster.ApplyAsync(item);
        var api = await UntilAsync(ServiceEntry.Type, "api", o => o["status"]?["addresses"] is JsonArray { Count: 2 });
        Assert.Equal("240.240.0.1", (string?)api["status"]!["addresses"]![0]!["value"]);
        await UntilAsync(ServiceEntry.Type, "api-too", o => Reason(o, "ambientmesh.io/Accepted") == "HostConflict" && o["status"]?["addresses"] is JsonArray { Count: 2 });
        await UntilAsync(WorkloadEntry.Type, "far", o => Reason(o, "ambientmesh.io/Accepted") == "NoNetworkGateway");
        var service = await UntilAsync(Service.Type, "bound", o => Reason(o, "istio.io/WaypointBound") == "WaypointIsNotReady");
        Assert.Contains(service["metadata"]!["managedFields"]!.AsArray(), f => (string?)f!["manager"] == "istio-ambient-service" && (string?)f["subresource"] == "status");
        await UntilAsync(Policies, "http", o => Reason(o, "ZtunnelAccepted") == "UnsupportedValue");

        // The other one gives way, the conflict is over, and what the author no longer needs to be told is gone.
        await cluster.Admin.Of<ServiceEntry>().DeleteAsync("default", "api", null, Patience.Token);
        await UntilAsync(ServiceEntry.Type, "api-too", o => Reason(o, "ambientmesh.io/Accepted") is null);
        await cluster.Admin.Of<Service>().PatchAsync("default", "bound", Patch.Merge(ClusterApi.Json("""{"metadata":{"labels":{"istio.io/use-waypoint":"none"}}}""")), null, Patience.Token);
        await UntilAsync(Service.Type, "bound", o => Reason(o, "istio.io/WaypointBound") is null);

        Assert.DoesNotContain(lines.Lines, line => line.Contains("forbidden", StringComparison.OrdinalIgnoreCase) || line.Contains("could not be written", StringComparison.Ordinal));

        async Task<JsonObject> UntilAsync(ResourceType type, string name, Func<JsonObject, bool> holds)
        {
            using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(50));
            var limit = Patience.Token;
            JsonObject? last = null;
            try
            {
                while (true)
                {
                    last = await cluster.Admin.Of(type).GetAsync("default", name, limit);
                    if (last is not null && holds(last)) return last;
                    await timer.WaitForNextTickAsync(limit);
                }
            }
            catch (OperationCanceledException)
            {
                throw new TimeoutException($"{type} {name} is still {last?.ToJsonString()}; log:\n{string.Concat(lines.Lines.TakeLast(20))}");
            }
        }
    }

    [Fact]
    public async Task Addresses_of_an_entry_that_changed_meanwhile_wait_for_its_newest_version()
    {
        await using var cluster = await ClusterApi.StartAsync();
        await cluster.ApplyAsync("crds/serviceentries.yaml");
        foreach (var name in (string[])["a", "b"])
            await cluster.ApplyAsync(ClusterApi.Json($$$"""
                {"apiVersion":"networking.istio.io/v1","kind":"ServiceEntry","metadata":{"namespace":"default","name":"{{{name}}}"},"spec":{"hosts":["{{{name}}}.example.com"],"resolution":"DNS","ports":[{"number":443,"name":"tls","protocol":"TLS"}]}}
                """));
        using var lines = new LogCollector();
        using var logs = LoggerFactory.Create(logging => logging.SetMinimumLevel(LogLevel.Information).AddProvider(lines));
        var entries = new Informer<ServiceEntry>(cluster.Admin.Of<ServiceEntry>());
        using (var deaf = new CancellationTokenSource())
        {
            var watching = entries.RunAsync(deaf.Token);
            await entries.WaitForSyncAsync(Patience.Token);
            await deaf.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Patience.Within(watching));
        }
        await cluster.Admin.Of(ServiceEntry.Type).PatchAsync("default", "a", Patch.Merge(ClusterApi.Json("""{"metadata":{"labels":{"changed":"meanwhile"}}}""")), null, Patience.Token);

        await Patience.Within(Assigning(entries).RunAsync(Patience.Token));      // what its informer does not learn any more, it does not wait for
        Assert.Null((await cluster.Admin.Of(ServiceEntry.Type).GetAsync("default", "a", Patience.Token))!["status"]?["addresses"]);
        await lines.LineAsync("ServiceEntry default/b", "addresses");

        using var stop = new CancellationTokenSource();
        var fresh = new Informer<ServiceEntry>(cluster.Admin.Of<ServiceEntry>());
        Task[] running = [fresh.RunAsync(stop.Token), Assigning(fresh).RunAsync(stop.Token)];
        await lines.LineAsync("ServiceEntry default/a", "addresses");
        Assert.DoesNotContain(lines.Lines, line => line.Contains("could not be written", StringComparison.Ordinal));
        await stop.CancelAsync();
        foreach (var task in running) await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Patience.Within(task));

        AddressAssigning Assigning(Informer<ServiceEntry> of) => new(cluster.Admin, of, IPNetwork.Parse("240.240.0.0/16"), IPNetwork.Parse("2001:2::/48"), logs.CreateLogger("addresses"));
    }

    [Fact]
    [Scenario("L4-179")]
    public async Task A_tainted_node_is_opened_when_its_agent_is_ready_and_by_nobody_else()
    {
        await using var cluster = await ClusterApi.StartAsync();
        foreach (var manifest in (string[])["namespace.yaml", "controlplane/serviceaccount.yaml", "controlplane/rbac.yaml", "controlplane/untaint.yaml"]) await cluster.ApplyAsync(manifest);
        foreach (var name in (string[])["n1", "n2"])
            await cluster.ApplyAsync(ClusterApi.Json($$$"""
                {"apiVersion":"v1","kind":"Node","metadata":{"name":"{{{name}}}"},"spec":{"taints":[{"key":"cni.istio.io/not-ready","effect":"NoSchedule"},{"key":"other","value":"x","effect":"NoSchedule"}]}}
                """));
        using var client = await cluster.ClientOfAsync("istio-system", "istiod");
        using var lines = new LogCollector();
        using var logs = LoggerFactory.Create(logging => logging.SetMinimumLevel(LogLevel.Information).AddProvider(lines));
        var (nodes, pods) = (new Informer<Node>(client.Of<Node>()), new Informer<Pod>(client.Of<Pod>()));
        var duty = new NodeUntainting(client, nodes, pods, "istio-system", logs.CreateLogger("nodes"));
        using var stop = new CancellationTokenSource();
        var running = Task.WhenAll(nodes.RunAsync(stop.Token), pods.RunAsync(stop.Token), duty.RunAsync(stop.Token));

        await cluster.ApplyAsync(ClusterApi.Json("""{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"namespace":"default","name":"liar"}}"""));
        await ReadyAsync("default", "liar", "liar", "n2");          // the label alone proves nothing
        await ReadyAsync("istio-system", "istio-cni-node-1", "istiod", "n1");
        await lines.LineAsync("node n1", "removed");
        Assert.Equal(["other"], TaintsOf(await cluster.Admin.Of<Node>().GetAsync("", "n1", Patience.Token)));
        Assert.Equal(["cni.istio.io/not-ready", "other"], TaintsOf(await cluster.Admin.Of<Node>().GetAsync("", "n2", Patience.Token)));
        Assert.DoesNotContain(lines.Lines, line => line.Contains("could not be removed", StringComparison.Ordinal));
        await stop.CancelAsync();
        await running.ContinueWith(_ => { }, TaskScheduler.Default);

        async Task ReadyAsync(string ns, string name, string account, string node)
        {
            await cluster.RunPodAsync(ns, name, account, node);
            await cluster.Admin.Of(Pod.Type).PatchAsync(ns, name, Patch.Merge(ClusterApi.Json("""{"metadata":{"labels":{"k8s-app":"istio-cni-node"}}}""")), null, Patience.Token);
            await cluster.Admin.Of(Pod.Type).PatchAsync(ns, name, Patch.Merge(ClusterApi.Json("""{"status":{"conditions":[{"type":"Ready","status":"True"}]}}""")), null, Patience.Token, subresource: "status");
        }
    }

    private static IEnumerable<string> TaintsOf(Node? node) => node!.Spec.Taints.Select(t => t.Key);

    private static string? Reason(JsonObject o, string type) =>
        (string?)(o["status"]?["conditions"] as JsonArray)?.OfType<JsonObject>().FirstOrDefault(c => (string?)c["type"] == type)?["reason"];
}
