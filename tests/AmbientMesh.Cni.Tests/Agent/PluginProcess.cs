using System.Text.Json.Nodes;
using AmbientMesh.Cni.Node;
using AmbientMesh.Cni.Node.Installation;
using AmbientMesh.Linux;

namespace AmbientMesh.Cni.Tests.Agent;

/// <summary>Runs the plugin as a container runtime does: a process, variables, standard input and output.</summary>
internal static class PluginProcess
{
    public static string Executable => Path.Combine(AppContext.BaseDirectory, "istio-cni");

    public static async Task<(int ExitCode, JsonObject? Output)> AddAsync(AgentSettings settings, string ns, string name, string uid, string netns, params string[] addresses)
    {
        var input = PluginStanza.For(settings);
        input["cniVersion"] = "1.0.0";
        input["prevResult"] = PreviousResult(addresses);
        return await RunAsync("ADD", input.ToJsonString(), $"IgnoreUnknown=1;K8S_POD_NAMESPACE={ns};K8S_POD_NAME={name};K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID={uid}", netns);
    }

    public static JsonObject PreviousResult(params string[] addresses) => new()
    {
        ["cniVersion"] = "1.0.0",
        ["interfaces"] = new JsonArray(new JsonObject { ["name"] = "eth0", ["sandbox"] = "/var/run/netns/x" }),
        ["ips"] = new JsonArray([.. addresses.Select(address => (JsonNode)new JsonObject { ["address"] = address, ["interface"] = 0 })]),
        ["routes"] = new JsonArray(new JsonObject { ["dst"] = "0.0.0.0/0" }),
    };

    public static async Task<(int ExitCode, JsonObject? Output)> RunAsync(string command, string input, string arguments = "", string netns = "")
    {
        var result = await HostProgram.RunAsync(new ProgramCall(Executable)
        {
            Input = input,
            Environment = new Dictionary<string, string>
            {
                ["CNI_COMMAND"] = command,
                ["CNI_ARGS"] = arguments,
                ["CNI_NETNS"] = netns,
                ["CNI_IFNAME"] = "eth0",
                ["CNI_CONTAINERID"] = "c1",
                ["CNI_PATH"] = "/opt/cni/bin",
            },
        }, Patience.Token);
        Assert.True(result.Errors.Length == 0, result.Errors);
        return (result.ExitCode, result.Output.Length == 0 ? null : (JsonObject)JsonNode.Parse(result.Output)!);
    }
}
