using System.Diagnostics;
using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Collections;
using AmbientMesh.ControlPlane.Discovery;
using AmbientMesh.ControlPlane.Tests.Translation;
using AmbientMesh.ControlPlane.Translation;

namespace AmbientMesh.ControlPlane.Tests.Policy;

/// <summary>Ten thousand policies in one namespace: an edit costs what it touches.</summary>
public class ManyPoliciesTests(ITestOutputHelper output)
{
    private const int Policies = 10_000;
    private const int Apps = 100;

    private static JsonObject Policy(int number, string port) => new()
    {
        ["apiVersion"] = "security.istio.io/v1",
        ["kind"] = "AuthorizationPolicy",
        ["metadata"] = new JsonObject { ["namespace"] = "shop", ["name"] = $"p{number:00000}", ["uid"] = $"u{number}", ["resourceVersion"] = $"{number}-{port}", ["generation"] = 1 },
        ["spec"] = new JsonObject
        {
            ["action"] = "DENY",
            ["selector"] = new JsonObject { ["matchLabels"] = new JsonObject { ["app"] = $"app-{number % Apps}" } },
            ["rules"] = new JsonArray(new JsonObject
            {
                ["from"] = new JsonArray(new JsonObject { ["source"] = new JsonObject { ["principals"] = new JsonArray($"cluster.local/ns/shop/sa/s{number}") } }),
                ["to"] = new JsonArray(new JsonObject { ["operation"] = new JsonObject { ["ports"] = new JsonArray(port) } }),
            }),
        },
    };

    private static IEnumerable<JsonObject> Pods => Enumerable.Range(0, Apps).Select(n => new JsonObject
    {
        ["kind"] = "Pod",
        ["metadata"] = new JsonObject { ["namespace"] = "shop", ["name"] = $"pod-{n}", ["labels"] = new JsonObject { ["app"] = $"app-{n}" } },
        ["status"] = new JsonObject { ["phase"] = "Running", ["podIP"] = $"10.244.0.{n + 1}" },
    });

    [Fact]
    public void An_edit_among_ten_thousand_moves_one_message_and_no_workload()
    {
        var graph = new CollectionGraph();
        var mesh = new MeshCollections(graph, new MeshScope());
        using var publisher = new ResourcePublisher(mesh, new CollectionLoop(graph), TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(1), new FakeTimeProvider());
        var before = GC.GetTotalMemory(forceFullCollection: true);
        var begun = Stopwatch.GetTimestamp();
        graph.Apply(() =>
        {
            foreach (var pod in Pods) mesh.Pods.Set(new("shop", (string)pod["metadata"]!["name"]!), (AmbientMesh.Kubernetes.Pod)KubernetesObjects.Typed(pod));
            for (var n = 0; n < Policies; n++) mesh.Policies.AuthorizationPolicies.Set(new("shop", $"p{n:00000}"), Policy(n, "8080"));
        });
        publisher.Open();
        var loaded = Stopwatch.GetElapsedTime(begun);
        var bytes = GC.GetTotalMemory(forceFullCollection: true) - before;
        Assert.Equal(Policies, publisher.Authorizations.Current.Resources.Count);

        var (versions, computed) = (publisher.Addresses.Current, mesh.PodWorkloads.Computations);
        List<string> changed = [];
        mesh.Authorizations.Subscribe(changes => changed.AddRange(changes.Select(c => c.Key)));
        begun = Stopwatch.GetTimestamp();
        graph.Apply(() => mesh.Policies.AuthorizationPolicies.Set(new("shop", "p04242"), Policy(4242, "9090")));
        var edited = Stopwatch.GetElapsedTime(begun);

        Assert.Equal(["shop/p04242"], changed);
        Assert.Same(versions, publisher.Addresses.Current);
        Assert.InRange(mesh.PodWorkloads.Computations - computed, 0, 1);   // only the pod whose label it selects is looked at again
        output.WriteLine($"{Policies} policies: {loaded.TotalMilliseconds:0} ms, {bytes / 1024.0 / 1024:0.0} MiB with their JSON; one edit: {edited.TotalMilliseconds:0.00} ms");
        Assert.InRange(bytes, 0, 400L * 1024 * 1024);
    }
}
