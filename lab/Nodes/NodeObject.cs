using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Network;

namespace AmbientMesh.Lab.Nodes;

/// <summary>The Node object as a kubelet registers and keeps it. Pure but for facts about the machine. Shape as recorded (objects/node).</summary>
internal static class NodeObject
{
    /// <summary>Condition times move only this often while nothing changes.</summary>
    private static readonly TimeSpan s_quiet = TimeSpan.FromMinutes(5);

    public static JsonObject New(NodeHost node, IReadOnlyList<string> addresses) => new()
    {
        ["kind"] = "Node",
        ["apiVersion"] = "v1",
        ["metadata"] = new JsonObject
        {
            ["name"] = node.Name,
            ["labels"] = new JsonObject
            {
                ["beta.kubernetes.io/arch"] = Architecture,
                ["beta.kubernetes.io/os"] = "linux",
                ["kubernetes.io/arch"] = Architecture,
                ["kubernetes.io/hostname"] = node.Name,
                ["kubernetes.io/os"] = "linux",
                ["topology.kubernetes.io/region"] = "lab",
                ["topology.kubernetes.io/zone"] = $"lab-{node.Number}",
            },
            ["annotations"] = new JsonObject { ["node.alpha.kubernetes.io/ttl"] = "0", ["volumes.kubernetes.io/controller-managed-attach-detach"] = "true" },
        },
        ["spec"] = new JsonObject
        {
            ["podCIDR"] = LabAddresses.NodePodCidrs(node.Number, node.Families)[0],
            ["podCIDRs"] = new JsonArray([.. LabAddresses.NodePodCidrs(node.Number, node.Families).Select(cidr => (JsonNode)cidr)]),
        },
    };

    /// <param name="networkProblem">Null when pods can be connected.</param>
    public static void WriteStatus(JsonObject node, IReadOnlyList<string> addresses, string? networkProblem, DateTimeOffset now)
    {
        var status = node.Ensure("status");
        var memory = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 1024;
        foreach (var place in (string[])["capacity", "allocatable"])
        {
            status[place] ??= new JsonObject
            {
                ["cpu"] = $"{Environment.ProcessorCount}",
                ["memory"] = $"{memory}Ki",
                ["pods"] = "110",
                ["ephemeral-storage"] = "10Gi",
                ["hugepages-1Gi"] = "0",
                ["hugepages-2Mi"] = "0",
            };
        }
        status["addresses"] ??= new JsonArray(
        [
            .. addresses.Select(a => new JsonObject { ["type"] = "InternalIP", ["address"] = a }),
            new JsonObject { ["type"] = "Hostname", ["address"] = node.Name() },
        ]);
        status["daemonEndpoints"] ??= new JsonObject { ["kubeletEndpoint"] = new JsonObject { ["Port"] = JsonTree.Number(10250) } };
        if (status.Text("nodeInfo", "kernelVersion") is not { Length: > 0 }) status["nodeInfo"] = Info();
        var old = status.Objects("conditions").ToArray();
        status["conditions"] = new JsonArray(
            Condition(old, "MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available", now),
            Condition(old, "DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure", now),
            Condition(old, "PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available", now),
            networkProblem is null
                ? Condition(old, "Ready", "True", "KubeletReady", "kubelet is posting ready status", now)
                : Condition(old, "Ready", "False", "KubeletNotReady", PodWorker.NetworkProblem(networkProblem), now));
    }

    public static JsonObject Lease(string nodeName, JsonObject? node, string now) => new()
    {
        ["kind"] = "Lease",
        ["apiVersion"] = "coordination.k8s.io/v1",
        ["metadata"] = new JsonObject
        {
            ["name"] = nodeName,
            ["namespace"] = "kube-node-lease",
            ["ownerReferences"] = new JsonArray(new JsonObject { ["apiVersion"] = "v1", ["kind"] = "Node", ["name"] = nodeName, ["uid"] = node?.Uid() ?? "" }),
        },
        ["spec"] = new JsonObject { ["holderIdentity"] = nodeName, ["leaseDurationSeconds"] = JsonTree.Number(40), ["renewTime"] = now },
    };

    private static string Architecture => RuntimeInformation.OSArchitecture switch { System.Runtime.InteropServices.Architecture.Arm64 => "arm64", _ => "amd64" };

    private static JsonNode Condition(JsonObject[] old, string type, string status, string reason, string message, DateTimeOffset now)
    {
        var before = Array.Find(old, c => c.Text("type") == type);
        var time = KubernetesTime.Seconds(now);
        var same = before.Text("status") == status && before.Text("message") == message;
        var beat = same && KubernetesTime.Parse(before.Text("lastHeartbeatTime")) is { } last && now - last < s_quiet ? before.Text("lastHeartbeatTime") : time;
        return new JsonObject
        {
            ["type"] = type,
            ["status"] = status,
            ["lastHeartbeatTime"] = beat,
            ["lastTransitionTime"] = before.Text("status") == status ? before.Text("lastTransitionTime") : time,
            ["reason"] = reason,
            ["message"] = message,
        };
    }

    private static JsonObject Info()
    {
        var machine = File.Exists("/etc/machine-id") ? File.ReadAllText("/etc/machine-id").Trim() : "";
        return new JsonObject
        {
            ["machineID"] = machine,
            ["systemUUID"] = machine,
            ["bootID"] = File.ReadAllText("/proc/sys/kernel/random/boot_id").Trim(),
            ["kernelVersion"] = File.ReadAllText("/proc/sys/kernel/osrelease").Trim(),
            ["osImage"] = "Debian GNU/Linux (AmbientMesh lab)",
            ["containerRuntimeVersion"] = "ambientmesh-lab://0.1.0",
            ["kubeletVersion"] = "v1.36.0-lab",
            ["kubeProxyVersion"] = "",
            ["operatingSystem"] = "linux",
            ["architecture"] = Architecture,
        };
    }
}
