using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using static AmbientMesh.Lab.Api.Http.Tables.Cells;

namespace AmbientMesh.Lab.Api.Http.Tables;

/// <summary>Columns of Pods; the status word is derived as <c>kubectl get pods</c> shows it.</summary>
internal static class PodColumns
{
    private static Column Text(string name, Func<JsonObject, DateTimeOffset, string?> cell, int priority = 0) => new(name, "string", priority, name, (o, now) => Of(cell(o, now)));

    public static readonly IReadOnlyList<Column> All =
    [
        BuiltInColumns.Name, Text("Ready", (o, _) => Ready(o)), Text("Status", (o, _) => Status(o)), Text("Restarts", Restarts), BuiltInColumns.Age,
        Text("IP", (o, _) => o.Objects("status", "podIPs").FirstOrDefault().Text("ip") ?? o.Text("status", "podIP") ?? None, 1),
        Text("Node", (o, _) => o.Text("spec", "nodeName") is { Length: > 0 } node ? node : None, 1),
        Text("Nominated Node", (o, _) => o.Text("status", "nominatedNodeName") ?? None, 1), Text("Readiness Gates", (o, _) => Gates(o), 1),
    ];

    /// <summary>The row condition that lets kubectl sort ended pods out; null for others.</summary>
    public static JsonObject? IsFinished(ApiResource resource, JsonObject o)
    {
        if (resource is not { Group: "", Plural: "pods" }) return null;
        return o.Text("status", "phase") switch
        {
            "Succeeded" => new JsonObject { ["type"] = "Completed", ["status"] = "True", ["reason"] = "Succeeded", ["message"] = "The pod has completed successfully." },
            "Failed" => new JsonObject { ["type"] = "Completed", ["status"] = "True", ["reason"] = "Failed", ["message"] = "The pod failed." },
            _ => null,
        };
    }

    private static IEnumerable<JsonObject> Statuses(JsonObject o) => o.Objects("status", "containerStatuses");

    private static bool IsSidecar(JsonObject pod, string? name) =>
        pod.Objects("spec", "initContainers").Any(c => c.Text("name") == name && c.Text("restartPolicy") == "Always");

    private static string Ready(JsonObject o)
    {
        var total = o.Objects("spec", "containers").Count() + o.Objects("spec", "initContainers").Count(c => c.Text("restartPolicy") == "Always");
        var ready = Statuses(o).Count(s => s.Flag("ready") == true && s.Map("state", "running") is not null)
            + o.Objects("status", "initContainerStatuses").Count(s => IsSidecar(o, s.Text("name")) && s.Flag("started") == true && s.Flag("ready") == true);
        return $"{ready}/{total}";
    }

    private static string Status(JsonObject o)
    {
        var status = o.Text("status", "reason") is { Length: > 0 } reason ? reason : o.Text("status", "phase") ?? "";
        if (o.Objects("status", "conditions").Any(c => c.Text("type") == "PodScheduled" && c.Text("reason") == "SchedulingGated")) status = "SchedulingGated";
        if (Initializing(o) is { } initializing)
        {
            status = initializing;
        }
        else
        {
            var hasRunning = false;
            foreach (var s in Statuses(o).Reverse())
            {
                if (s.Text("state", "waiting", "reason") is { Length: > 0 } waiting) status = waiting;
                else if (Terminated(s, "") is { } ended) status = ended;
                else if (s.Flag("ready") == true && s.Map("state", "running") is not null) hasRunning = true;
            }
            if (status == "Completed" && hasRunning)
                status = o.Objects("status", "conditions").Any(c => c.Text("type") == "Ready" && c.Text("status") == "True") ? "Running" : "NotReady";
        }
        if (!o.IsTerminating()) return status;
        if (o.Text("status", "reason") == "NodeLost") return "Unknown";
        return o.Text("status", "phase") is "Succeeded" or "Failed" ? status : "Terminating";
    }

    private static string? Terminated(JsonObject s, string prefix)
    {
        if (s.Map("state", "terminated") is not { } ended) return null;
        if (ended.Text("reason") is { Length: > 0 } reason) return prefix + reason;
        return ended.Number("signal") is > 0 and var signal ? $"{prefix}Signal:{signal}" : $"{prefix}ExitCode:{ended.Number("exitCode") ?? 0}";
    }

    private static string? Initializing(JsonObject o)
    {
        var index = 0;
        foreach (var s in o.Objects("status", "initContainerStatuses"))
        {
            var done = s.Map("state", "terminated") is { } ended && ended.Number("exitCode") is null or 0 && s.Map("state", "terminated") is not null;
            var sidecarUp = IsSidecar(o, s.Text("name")) && s.Flag("started") == true;
            if (!done && !sidecarUp)
            {
                if (Terminated(s, "Init:") is { } failed) return failed;
                if (s.Text("state", "waiting", "reason") is { Length: > 0 } waiting && waiting != "PodInitializing") return "Init:" + waiting;
                return $"Init:{index}/{o.Objects("spec", "initContainers").Count()}";
            }
            index++;
        }
        return null;
    }

    private static string Restarts(JsonObject o, DateTimeOffset now)
    {
        var statuses = Statuses(o).Concat(o.Objects("status", "initContainerStatuses").Where(s => IsSidecar(o, s.Text("name")))).ToList();
        var count = statuses.Sum(s => s.Number("restartCount") ?? 0);
        var last = statuses.Select(s => KubernetesTime.Parse(s.Text("lastState", "terminated", "finishedAt"))).Where(t => t is not null).DefaultIfEmpty(null).Max();
        return count > 0 && last is { } at ? $"{count} ({Duration(now - at)} ago)" : $"{count}";
    }

    private static string Gates(JsonObject o)
    {
        var gates = o.Objects("spec", "readinessGates").Select(g => g.Text("conditionType")).ToList();
        if (gates.Count == 0) return None;
        var met = gates.Count(g => o.Objects("status", "conditions").Any(c => c.Text("type") == g && c.Text("status") == "True"));
        return $"{met}/{gates.Count}";
    }
}
