using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Nodes;

namespace AmbientMesh.Lab.Tests.Nodes;

/// <summary>The status we write, against every status a real kubelet wrote for one pod, and for pods in trouble (samples, objects/pod-lifecycle-plain and pod-states).</summary>
public sealed class PodStatusTests
{
    private static readonly DateTimeOffset s_bound = DateTimeOffset.Parse("2026-11-21T01:26:16Z");
    private static readonly DateTimeOffset s_running = DateTimeOffset.Parse("2026-11-21T01:26:17Z");

    [Fact]
    public void The_life_of_a_plain_pod_is_written_as_recorded()
    {
        var events = Objects("samples/kubernetes/objects/pod-lifecycle-plain.txt", "## plain: watch event");
        var pod = events[1].Copy();
        var waiting = Record(pod, new ContainerState.Waiting("ContainerCreating"));
        PodStatus.Write(pod, View(waiting, sandboxReady: false), s_bound);
        AssertStatus(events[2], pod);

        PodStatus.Write(pod, View(waiting, sandboxReady: true), s_running);
        AssertStatus(events[3], pod);

        var recorded = events[4].Objects("status", "containerStatuses").First();
        var running = Record(pod, new ContainerState.Running(s_running)) with
        {
            Ready = true,
            Started = true,
            ImageId = recorded.Text("imageID")!,
            ContainerId = recorded.Text("containerID")!,
        };
        PodStatus.Write(pod, View(running, sandboxReady: true, "10.244.0.69"), s_running);
        AssertStatus(events[4], pod);
    }

    [Theory]
    [InlineData("CrashLoopBackOff with lastState", "Running", "ContainersNotReady")]
    [InlineData("Succeeded (pod done", "Succeeded", "PodCompleted")]
    [InlineData("Failed, message taken from the log", "Failed", "PodFailed")]
    [InlineData("command not found", "Running", "ContainersNotReady")]
    public void Phase_and_readiness_of_pods_in_trouble_are_those_recorded(string heading, string phase, string reason)
    {
        var recorded = Objects("samples/kubernetes/objects/pod-states.txt", $"## {heading}")[0];
        var container = recorded.Objects("status", "containerStatuses").First();
        var pod = recorded.Copy();
        pod["status"] = new JsonObject();
        PodStatus.Write(pod, View(Record(recorded, Read(container.Map("state")!)) with
        {
            Last = container.Map("lastState", "terminated") is null ? null : (ContainerState.Terminated)Read(container.Map("lastState")!),
            RestartCount = (int)container.Number("restartCount")!,
        }, sandboxReady: true), s_running);
        Assert.Equal(recorded.Text("status", "phase"), pod.Text("status", "phase"));
        Assert.Equal(phase, pod.Text("status", "phase"));
        foreach (var type in (string[])["Ready", "ContainersReady", "Initialized"])
        {
            var (expected, ours) = (Condition(recorded, type), Condition(pod, type));
            Assert.Equal((type, expected.Text("status"), expected.Text("reason"), expected.Text("message")), (type, ours.Text("status"), ours.Text("reason"), ours.Text("message")));
        }
        Assert.Equal(reason, Condition(pod, "Ready").Text("reason"));
        Assert.True(JsonNode.DeepEquals(container["state"], pod.Objects("status", "containerStatuses").First()["state"]));
        Assert.True(JsonNode.DeepEquals(container["lastState"], pod.Objects("status", "containerStatuses").First()["lastState"]));
    }

    [Fact]
    public void An_init_container_that_fails_leaves_the_pod_pending_with_the_recorded_reasons()
    {
        var recorded = Objects("samples/kubernetes/objects/pod-states.txt", "## init container fails")[0];
        var pod = recorded.Copy();
        pod["status"] = new JsonObject();
        var init = recorded.Objects("status", "initContainerStatuses").First();
        PodStatus.Write(pod, new PodView(
        [
            new ContainerRecord(pod.InitContainers().First(), ContainerRole.Init, Read(init.Map("state")!)) { Last = (ContainerState.Terminated)Read(init.Map("lastState")!) },
            Record(pod, new ContainerState.Waiting("PodInitializing")),
        ], true, [], ["10.10.0.2"], s_bound), s_running);
        Assert.Equal("Pending", pod.Text("status", "phase"));
        foreach (var type in (string[])["Initialized", "Ready", "ContainersReady"])
            Assert.Equal((Condition(recorded, type).Text("reason"), Condition(recorded, type).Text("message")), (Condition(pod, type).Text("reason"), Condition(pod, type).Text("message")));
    }

    [Fact]
    public void Conditions_of_others_stay_and_a_missing_readiness_gate_is_named()
    {
        var pod = Objects("samples/kubernetes/objects/pod-lifecycle-plain.txt", "## plain: watch event")[1].Copy();
        pod.Ensure("spec")["readinessGates"] = new JsonArray(new JsonObject { ["conditionType"] = "mesh.example/ready" });
        pod.Objects("status", "conditions").First().Parent!.AsArray().Add(new JsonObject { ["type"] = "other.example/x", ["status"] = "True" });
        PodStatus.Write(pod, View(Record(pod, new ContainerState.Running(s_running)) with { Ready = true, Started = true }, true, "10.244.0.69"), s_running);
        Assert.Equal("True", Condition(pod, "other.example/x").Text("status"));
        Assert.Equal("True", Condition(pod, "ContainersReady").Text("status"));
        Assert.Equal("corresponding condition of pod readiness gate \"mesh.example/ready\" does not exist.", Condition(pod, "Ready").Text("message"));
    }

    private static ContainerRecord Record(JsonObject pod, ContainerState state) => new(pod.Containers().First(), ContainerRole.Main, state);

    private static PodView View(ContainerRecord record, bool sandboxReady, params string[] addresses) => new([record], sandboxReady, addresses, ["10.10.0.2"], s_bound);

    private static JsonObject Condition(JsonObject pod, string type) => pod.Objects("status", "conditions").Single(c => c.Text("type") == type);

    private static ContainerState Read(JsonObject state)
    {
        if (state.Map("waiting") is { } waiting) return new ContainerState.Waiting(waiting.Text("reason")!, waiting.Text("message"));
        if (state.Map("running") is { } running) return new ContainerState.Running(DateTimeOffset.Parse(running.Text("startedAt")!));
        var ended = state.Map("terminated")!;
        return new ContainerState.Terminated((int)ended.Number("exitCode")!, ended.Text("reason")!, ended.Text("message"),
            DateTimeOffset.Parse(ended.Text("startedAt")!), DateTimeOffset.Parse(ended.Text("finishedAt")!), ended.Text("containerID")!);
    }

    // Resource figures belong to features the lab has not (in-place resizing); everything else must be the same.
    private static void AssertStatus(JsonObject recorded, JsonObject ours)
    {
        static JsonNode Comparable(JsonObject pod)
        {
            var status = pod.Map("status")!.Copy();
            status.Remove("resources");
            foreach (var container in status.Objects("containerStatuses")) container.Remove("resources");
            return status;
        }
        var (expected, actual) = (Comparable(recorded), Comparable(ours));
        Assert.True(JsonNode.DeepEquals(expected, actual), $"expected {expected.ToJsonString()}\nactual   {actual.ToJsonString()}");
    }

    private static List<JsonObject> Objects(string sample, string heading)
    {
        var lines = Samples.Text(sample).Split('\n');
        var found = new List<JsonObject>();
        for (var i = 0; i < lines.Length; i++)
        {
            if (!lines[i].StartsWith(heading, StringComparison.Ordinal)) continue;
            var start = Array.IndexOf(lines, "{", i);
            var end = Array.IndexOf(lines, "}", start);
            found.Add(JsonNode.Parse(string.Join('\n', lines[start..(end + 1)]))!.AsObject());
        }
        return found;
    }
}
