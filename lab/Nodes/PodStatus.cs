using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Nodes;

/// <summary>What the kubelet knows of a pod now.</summary>
/// <param name="SandboxReady">Network and namespaces stand.</param>
/// <param name="PodAddresses">Empty until the first container has been started.</param>
internal sealed record PodView(
    IReadOnlyList<ContainerRecord> Containers, bool SandboxReady, IReadOnlyList<string> PodAddresses, IReadOnlyList<string> NodeAddresses, DateTimeOffset StartTime);

/// <summary>Turns what the kubelet knows into the pod's status. Pure; conditions of others (PodScheduled, readiness gates) stay.</summary>
/// <remarks>Shapes and reasons as recorded in the samples (pod-lifecycle-plain, pod-states).</remarks>
internal static class PodStatus
{
    /// <summary>Changes <paramref name="pod"/>'s status in place.</summary>
    public static void Write(JsonObject pod, PodView view, DateTimeOffset now)
    {
        var status = pod.Ensure("status");
        var phase = Phase(pod, view);
        status["observedGeneration"] = JsonTree.Number(pod.Generation());
        status["phase"] = phase;
        WriteConditions(pod, status, view, phase, now);
        WriteAddresses(status, "hostIP", "hostIPs", view.NodeAddresses);
        WriteAddresses(status, "podIP", "podIPs", view.PodAddresses);
        status["startTime"] ??= KubernetesTime.Seconds(view.StartTime);
        WriteContainers(pod, status, "initContainerStatuses", view.Containers.Where(c => c.Role != ContainerRole.Main));
        WriteContainers(pod, status, "containerStatuses", view.Containers.Where(c => c.Role == ContainerRole.Main));
        status["qosClass"] ??= pod.QosClass();
    }

    /// <summary>Pending, Running, Succeeded or Failed. Source: Kubernetes, pod lifecycle.</summary>
    public static string Phase(JsonObject pod, PodView view)
    {
        var policy = pod.RestartPolicy();
        var main = view.Containers.Where(c => c.Role == ContainerRole.Main).ToArray();
        var init = view.Containers.Where(c => c.Role == ContainerRole.Init).ToArray();
        var terminating = pod.IsTerminating();
        if (Array.Exists(init, c => c.State is ContainerState.Terminated { ExitCode: not 0 }) && (policy == "Never" || terminating)) return "Failed";
        var ended = main.Select(c => c.State).OfType<ContainerState.Terminated>().ToArray();
        if (ended.Length == main.Length && main.Length > 0)
        {
            var failed = Array.Exists(ended, e => e.ExitCode != 0);
            if (policy == "Never" || terminating) return failed ? "Failed" : "Succeeded";
            if (policy == "OnFailure" && !failed) return "Succeeded";
        }
        var begun = Array.Exists(main, c => c.State is ContainerState.Running or ContainerState.Terminated || c.Last is not null);
        return begun ? "Running" : "Pending";
    }

    private static void WriteConditions(JsonObject pod, JsonObject status, PodView view, string phase, DateTimeOffset now)
    {
        var old = status.Objects("conditions").ToArray();
        var made = new JsonArray();
        void Add(string type, bool holds, string? reason = null, string? message = null) => made.Add(Condition(Array.Find(old, c => c.Text("type") == type), type, holds, reason, message, pod, now));

        Add("PodReadyToStartContainers", view.SandboxReady);
        var (finished, notFinished) = (phase is "Succeeded" or "Failed", phase == "Succeeded" ? "PodCompleted" : "PodFailed");
        var incomplete = Names(view.Containers.Where(c => !IsInitialized(c)));
        if (phase == "Succeeded") Add("Initialized", true, "PodCompleted");
        else if (incomplete.Length > 0) Add("Initialized", false, "ContainersNotInitialized", $"containers with incomplete status: [{incomplete}]");
        else Add("Initialized", true);
        var unready = Names(view.Containers.Where(c => c.Role != ContainerRole.Init && !c.Ready));
        if (finished)
        {
            Add("Ready", false, notFinished);
            Add("ContainersReady", false, notFinished);
        }
        else if (unready.Length > 0)
        {
            Add("Ready", false, "ContainersNotReady", $"containers with unready status: [{unready}]");
            Add("ContainersReady", false, "ContainersNotReady", $"containers with unready status: [{unready}]");
        }
        else
        {
            var gate = GateProblem(pod, old);
            Add("Ready", gate is null, gate is null ? null : "ReadinessGatesNotReady", gate);
            Add("ContainersReady", true);
        }
        Add("PodScheduled", true);
        foreach (var other in old.Where(c => made.OfType<JsonObject>().All(m => m.Text("type") != c.Text("type")))) made.Add(other.Copy());
        status["conditions"] = made;
    }

    private static string? GateProblem(JsonObject pod, JsonObject[] conditions)
    {
        foreach (var type in pod.Objects("spec", "readinessGates").Select(g => g.Text("conditionType")))
        {
            var condition = Array.Find(conditions, c => c.Text("type") == type);
            if (condition is null) return $"corresponding condition of pod readiness gate \"{type}\" does not exist.";
            if (condition.Text("status") != "True") return $"the status of pod readiness gate \"{type}\" is not \"True\", but {condition.Text("status")}";
        }
        return null;
    }

    private static JsonObject Condition(JsonObject? old, string type, bool holds, string? reason, string? message, JsonObject pod, DateTimeOffset now)
    {
        var status = holds ? "True" : "False";
        var condition = new JsonObject
        {
            ["type"] = type,
            ["observedGeneration"] = JsonTree.Number(pod.Generation()),
            ["status"] = status,
            ["lastProbeTime"] = null,
            ["lastTransitionTime"] = old.Text("status") == status ? old.Text("lastTransitionTime") : KubernetesTime.Seconds(now),
        };
        if (reason is not null) condition["reason"] = reason;
        if (message is not null) condition["message"] = message;
        return condition;
    }

    private static bool IsInitialized(ContainerRecord container) => container.Role switch
    {
        ContainerRole.Main => true,
        ContainerRole.Sidecar => container.Started,
        _ => container.State is ContainerState.Terminated { ExitCode: 0 },
    };

    private static string Names(IEnumerable<ContainerRecord> containers) => string.Join(' ', containers.Select(c => c.Name));

    private static void WriteAddresses(JsonObject status, string one, string all, IReadOnlyList<string> addresses)
    {
        if (addresses.Count == 0) return;
        status[one] = addresses[0];
        status[all] = new JsonArray([.. addresses.Select(a => new JsonObject { ["ip"] = a })]);
    }

    private static void WriteContainers(JsonObject pod, JsonObject status, string name, IEnumerable<ContainerRecord> containers)
    {
        var all = containers.Select(c => (JsonNode)Container(c)).ToArray();
        if (all.Length > 0) status[name] = new JsonArray(all);
        else status.Remove(name);
    }

    private static JsonObject Container(ContainerRecord c)
    {
        var status = new JsonObject
        {
            ["name"] = c.Name,
            ["state"] = State(c.State),
            ["lastState"] = c.Last is null ? new JsonObject() : State(c.Last),
            ["ready"] = c.Ready,
            ["restartCount"] = JsonTree.Number(c.RestartCount),
            ["image"] = c.Spec.Text("image") ?? "",
            ["imageID"] = c.ImageId,
        };
        if (c.ContainerId.Length > 0) status["containerID"] = c.ContainerId;
        status["started"] = c.Started;
        var mounts = c.Spec.Objects("volumeMounts").Select(Mount).ToArray();
        if (mounts.Length > 0) status["volumeMounts"] = new JsonArray(mounts);
        if (c.State is ContainerState.Running)
        {
            status["user"] = new JsonObject
            {
                ["linux"] = new JsonObject
                {
                    ["uid"] = JsonTree.Number(c.User),
                    ["gid"] = JsonTree.Number(c.Group),
                    ["supplementalGroups"] = new JsonArray(JsonTree.Number(c.Group)),
                },
            };
        }
        return status;
    }

    private static JsonNode Mount(JsonObject mount)
    {
        var shown = new JsonObject { ["name"] = mount.Text("name"), ["mountPath"] = mount.Text("mountPath") };
        if (mount.Flag("readOnly") == true)
        {
            shown["readOnly"] = true;
            shown["recursiveReadOnly"] = "Disabled";
        }
        return shown;
    }

    private static JsonObject State(ContainerState state)
    {
        switch (state)
        {
            case ContainerState.Waiting waiting:
                var shown = new JsonObject { ["reason"] = waiting.Reason };
                if (waiting.Message is not null) shown["message"] = waiting.Message;
                return new JsonObject { ["waiting"] = shown };
            case ContainerState.Running running:
                return new JsonObject { ["running"] = new JsonObject { ["startedAt"] = KubernetesTime.Seconds(running.StartedAt) } };
            default:
                return new JsonObject { ["terminated"] = Terminated((ContainerState.Terminated)state) };
        }
    }

    private static JsonObject Terminated(ContainerState.Terminated ended)
    {
        var shown = new JsonObject { ["exitCode"] = JsonTree.Number(ended.ExitCode), ["reason"] = ended.Reason };
        if (ended.Message is { Length: > 0 }) shown["message"] = ended.Message;
        shown["startedAt"] = KubernetesTime.Seconds(ended.StartedAt);
        shown["finishedAt"] = KubernetesTime.Seconds(ended.FinishedAt);
        if (ended.ContainerId.Length > 0) shown["containerID"] = ended.ContainerId;
        return shown;
    }
}
