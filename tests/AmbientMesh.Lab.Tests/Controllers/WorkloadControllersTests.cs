using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;
using AmbientMesh.Lab.Controllers;

namespace AmbientMesh.Lab.Tests.Controllers;

public sealed class WorkloadControllersTests
{
    [Fact]
    public async Task A_deployment_makes_a_replica_set_and_pods_with_the_recorded_names_labels_and_events()
    {
        await using var world = new ClusterWorld("node-1", "node-2");
        world.Store.Create(Resources.Deployments, Deployment(2));
        world.Settle();
        var set = Assert.Single(world.Store.List(Resources.ReplicaSets, new Selection("demo")).Items);
        var hash = set.Labels()["pod-template-hash"];
        Assert.Equal($"web-{hash}", set.Name());
        Assert.Equal(("1", "2", "3"), (set.Annotations()["deployment.kubernetes.io/revision"], set.Annotations()["deployment.kubernetes.io/desired-replicas"], set.Annotations()["deployment.kubernetes.io/max-replicas"]));
        Assert.All(world.Pods, p => Assert.Matches($"^web-{hash}-[a-z0-9]{{5}}$", p.Name()));
        Assert.Equal(["node-1", "node-2"], world.Pods.Select(p => p.Text("spec", "nodeName")).Order());
        Assert.Equal([$"Scaled up replica set web-{hash} from 0 to 2"], world.Events("Deployment"));
        Assert.All(world.Events("ReplicaSet"), e => Assert.StartsWith("Created pod: web-", e));
        world.MakeReady();
        world.Settle();
        var status = world.Store.Get(Resources.Deployments, "demo", "web").Map("status")!;
        Assert.Equal((2L, 2L, 2L, null), (status.Number("readyReplicas"), status.Number("availableReplicas"), status.Number("updatedReplicas"), status.Number("unavailableReplicas")));
        Assert.Equal([("Available", "MinimumReplicasAvailable"), ("Progressing", "NewReplicaSetAvailable")],
            status.Objects("conditions").Select(c => (c.Text("type")!, c.Text("reason")!)).Order());
    }

    [Fact]
    public async Task A_rollout_never_has_fewer_available_pods_than_asked_for_nor_more_than_the_surge()
    {
        await using var world = await RolledOut(4);
        world.Store.Modify(Resources.Deployments, "demo", "web", d => d.Ensure("spec", "template", "metadata", "annotations")["version"] = "2");
        for (var step = 0; step < 20; step++)
        {
            world.Settle();
            Assert.InRange(world.Pods.Count(p => !p.IsTerminating()), 3, 5);
            Assert.True(world.Pods.Count(p => !p.IsTerminating() && AmbientMesh.Lab.Nodes.PodFacts.IsReady(p)) >= 3);
            world.FinishTerminating();
            world.MakeReady();
        }
        Assert.Equal(4, world.Pods.Count);
        Assert.All(world.Pods, p => Assert.Equal("2", p.Annotations()["version"]));
        Assert.Equal("2", world.Store.Get(Resources.Deployments, "demo", "web").Annotations()["deployment.kubernetes.io/revision"]);
    }

    [Fact]
    public async Task Going_back_to_an_earlier_template_uses_its_replica_set_under_a_new_revision()
    {
        await using var world = await RolledOut(1);
        var first = world.Store.List(Resources.ReplicaSets).Items.Single().Name();
        world.Store.Modify(Resources.Deployments, "demo", "web", d => d.Ensure("spec", "template", "metadata", "annotations")["version"] = "2");
        Finish(world);
        world.Store.Modify(Resources.Deployments, "demo", "web", d => d.Ensure("spec", "template", "metadata").Remove("annotations"));
        Finish(world);
        var sets = world.Store.List(Resources.ReplicaSets).Items;
        Assert.Equal(2, sets.Count);
        Assert.Equal("3", sets.Single(s => s.Name() == first).Annotations()["deployment.kubernetes.io/revision"]);
        Assert.Equal(1L, sets.Single(s => s.Name() == first).Number("spec", "replicas"));
    }

    [Fact]
    public async Task A_rollout_that_does_not_move_is_said_to_have_timed_out()
    {
        await using var world = new ClusterWorld("node-1");
        world.Store.Create(Resources.Deployments, Deployment(1));
        world.Settle();
        world.Clock.Advance(TimeSpan.FromSeconds(601));
        world.Settle();
        var condition = world.Store.Get(Resources.Deployments, "demo", "web").Objects("status", "conditions").Single(c => c.Text("type") == "Progressing");
        Assert.Equal(("False", "ProgressDeadlineExceeded"), (condition.Text("status"), condition.Text("reason")));
    }

    [Fact]
    public async Task A_daemon_set_runs_on_every_node_that_takes_it_and_a_surge_keeps_the_old_pod_until_the_new_one_is_ready()
    {
        await using var world = new ClusterWorld("node-1", "node-2");
        world.Store.Create(Resources.DaemonSets, ClusterWorld.Object("""
            {"apiVersion":"apps/v1","kind":"DaemonSet","metadata":{"name":"agent","namespace":"demo"},"spec":{"selector":{"matchLabels":{"app":"agent"}},
             "updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1,"maxUnavailable":0}},
             "template":{"metadata":{"labels":{"app":"agent"}},"spec":{"containers":[{"name":"c","image":"host/sleep"}]}}}}
            """));
        world.Settle();
        world.MakeReady();
        world.Settle();
        Assert.Equal(["node-1", "node-2"], world.Pods.Select(p => p.Text("spec", "nodeName")).Order());
        world.Store.Modify(Resources.DaemonSets, "demo", "agent", d => d.Ensure("spec", "template", "metadata", "annotations")["version"] = "2");
        world.Settle();
        Assert.Equal(3, world.Pods.Count);
        Assert.Equal(2, world.Pods.Count(p => AmbientMesh.Lab.Nodes.PodFacts.IsReady(p) && !p.IsTerminating()));
        Assert.Null(world.Store.Get(Resources.DaemonSets, "demo", "agent").Number("status", "updatedNumberScheduled"));
        for (var step = 0; step < 6; step++)
        {
            world.MakeReady();
            world.Settle();
            Assert.True(world.Pods.Where(p => AmbientMesh.Lab.Nodes.PodFacts.IsReady(p) && !p.IsTerminating()).Select(p => p.Text("spec", "nodeName")).Distinct().Count() == 2);
            world.FinishTerminating();
        }
        world.Settle();
        Assert.All(world.Pods, p => Assert.Equal("2", p.Annotations()["version"]));
        Assert.Equal(2L, world.Store.Get(Resources.DaemonSets, "demo", "agent").Number("status", "updatedNumberScheduled"));
    }

    [Fact]
    public async Task A_pod_nobody_can_take_is_told_why_in_the_schedulers_words()
    {
        await using var world = new ClusterWorld("node-1");
        world.Store.Create(Resources.Pods, ClusterWorld.Object("""
            {"apiVersion":"v1","kind":"Pod","metadata":{"name":"no-fit","namespace":"demo"},"spec":{"nodeSelector":{"disk":"ssd"},"containers":[{"name":"c","image":"host/sleep"}]}}
            """));
        world.Settle();
        Assert.Equal(["0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."],
            world.Events("Pod").Distinct());
    }

    [Fact]
    public async Task A_tainted_node_takes_only_pods_that_tolerate_it()
    {
        await using var world = new ClusterWorld("node-1");
        world.Store.Modify(Resources.Nodes, "", "node-1", n => n.Ensure("spec")["taints"] = JsonNode.Parse("""[{"key":"node.kubernetes.io/not-ready","effect":"NoSchedule"}]"""));
        foreach (var (name, tolerations) in ((string, string)[])[("plain", "[]"), ("tolerant", """[{"key":"node.kubernetes.io/not-ready","operator":"Exists"}]""")])
        {
            world.Store.Create(Resources.Pods, ClusterWorld.Object($$$$$$"""
                {"apiVersion":"v1","kind":"Pod","metadata":{"name":"{{{{{{name}}}}}}","namespace":"demo"},"spec":{"tolerations":{{{{{{tolerations}}}}}},"containers":[{"name":"c","image":"host/sleep"}]}}
                """));
        }
        world.Settle();
        Assert.Equal(["tolerant"], world.Pods.Where(p => p.Text("spec", "nodeName") is not null).Select(p => p.Name()));
        Assert.Contains(world.Events("Pod"), e => e.Contains("1 node(s) had untolerated taint(s)", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_slice_follows_readiness_and_shows_a_terminating_pod_as_serving_but_not_ready()
    {
        await using var world = await RolledOut(2);
        world.Store.Create(Resources.Services, ClusterWorld.Object("""
            {"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"demo"},"spec":{"selector":{"app":"web"},"ports":[{"port":80,"targetPort":"http"}]}}
            """));
        world.Settle();
        var slice = Assert.Single(world.Store.List(Resources.EndpointSlices, new Selection("demo")).Items);
        Assert.StartsWith("web-", slice.Name());
        Assert.Equal("""[{"name":"","port":8080,"protocol":"TCP"}]""", new JsonArray([.. slice.Objects("ports").Select(p => new JsonObject(p.OrderBy(f => f.Key).Select(f => KeyValuePair.Create(f.Key, f.Value?.DeepClone()))))]).ToJsonString());
        Assert.All(slice.Objects("endpoints"), e => Assert.Equal((true, true, false), Conditions(e)));
        world.Store.Delete(Resources.Pods, "demo", world.Pods[0].Name());
        world.Settle();
        slice = world.Store.List(Resources.EndpointSlices, new Selection("demo")).Items.Single();
        Assert.Contains(slice.Objects("endpoints"), e => Conditions(e) == (false, true, true));
        Assert.Contains(slice.Objects("endpoints"), e => Conditions(e) == (true, true, false));
        world.Store.Modify(Resources.Deployments, "demo", "web", d => d.Ensure("spec")["replicas"] = JsonTree.Number(0));
        world.Settle();
        world.FinishTerminating();
        world.Settle();
        slice = world.Store.List(Resources.EndpointSlices, new Selection("demo")).Items.Single();
        Assert.Empty(slice.Objects("endpoints"));
        Assert.Empty(slice.Objects("ports"));
    }

    private static (bool?, bool?, bool?) Conditions(JsonObject endpoint) =>
        (endpoint.Flag("conditions", "ready"), endpoint.Flag("conditions", "serving"), endpoint.Flag("conditions", "terminating"));

    private static async Task<ClusterWorld> RolledOut(int replicas)
    {
        await Task.CompletedTask;
        var world = new ClusterWorld("node-1", "node-2");
        world.Store.Create(Resources.Deployments, Deployment(replicas));
        Finish(world);
        return world;
    }

    private static void Finish(ClusterWorld world)
    {
        for (var step = 0; step < 10; step++)
        {
            world.Settle();
            world.FinishTerminating();
            world.MakeReady();
        }
        world.Settle();
    }

    private static JsonObject Deployment(int replicas) => ClusterWorld.Object($$$$$$"""
        {"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"demo"},"spec":{"replicas":{{{{{{replicas}}}}}},"selector":{"matchLabels":{"app":"web"}},
         "template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"host/sleep","ports":[{"name":"http","containerPort":8080}]}]}}}}
        """);
}
