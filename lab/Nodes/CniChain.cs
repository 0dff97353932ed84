using System.Text.Json;
using System.Text.Json.Nodes;

namespace AmbientMesh.Lab.Nodes;

/// <summary>The sandbox a plugin is called for, and what the runtime knows about its pod.</summary>
/// <param name="NetworkNamespacePath">Path on the node; empty when the namespace is gone.</param>
/// <param name="CgroupPath">The pod's cgroup in kubelet form.</param>
/// <param name="PortMappings">Host ports the pod asks for; empty for none.</param>
public sealed record CniSandbox(
    string Id, string Namespace, string PodName, string PodUid, string NetworkNamespacePath, string CgroupPath,
    IReadOnlyDictionary<string, string> Annotations, IReadOnlyList<PortMapping> PortMappings, IReadOnlyList<string> DnsServers,
    IReadOnlyList<string> DnsSearches);

public sealed record PortMapping(int HostPort, int ContainerPort, string Protocol, string HostAddress);

/// <summary>What the chain gave the pod.</summary>
/// <param name="Raw">The last plugin's result, given back on DEL.</param>
public sealed record CniResult(IReadOnlyList<string> Addresses, JsonObject Raw);

/// <summary>A plugin refused; the message is the one that shows in the pod's Events.</summary>
public sealed class CniException(string message) : IOException(message);

/// <summary>Calls the plugins of the node's configuration list as a container runtime does. Source: CNI specification 1.0, sections 2 and 4.</summary>
public sealed class CniChain(NodeHost node)
{
    public const string ConfigurationDirectory = "/etc/cni/net.d";
    public const string PluginDirectory = "/opt/cni/bin";
    public const string NotInitialized = "cni plugin not initialized";
    private static readonly JsonSerializerOptions s_compact = new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The list in force now; read again for every call, as files come and go.</summary>
    public CniConfigurationList? Configuration => CniConfigurationList.Load(node.HostPath(ConfigurationDirectory));

    /// <summary>Null when pods can be connected, else why not. Asks plugins by STATUS from CNI 1.1.0 on.</summary>
    public async Task<string?> ProblemAsync(CancellationToken cancellationToken)
    {
        if (Configuration is not { } list) return NotInitialized;
        if (!Version.TryParse(list.CniVersion, out var version) || version < new Version(1, 1)) return null;
        foreach (var plugin in list.Plugins)
        {
            var call = await CallAsync(plugin, "STATUS", StatusInput(list, plugin), sandbox: null, cancellationToken);
            if (!call.Succeeded) return Diagnosis(call);
        }
        return null;
    }

    /// <summary>Connects the sandbox. After a failure everything done so far is undone by <see cref="DeleteAsync"/>, which the caller owes.</summary>
    /// <exception cref="CniException">No list, or a plugin failed; named in the message.</exception>
    public async Task<CniResult> AddAsync(CniSandbox sandbox, CancellationToken cancellationToken)
    {
        var list = Configuration ?? throw new CniException(NotInitialized);
        JsonObject? result = null;
        foreach (var plugin in list.Plugins)
        {
            var call = await CallAsync(plugin, "ADD", Input(list, plugin, sandbox, result), sandbox, cancellationToken);
            if (!call.Succeeded) throw new CniException($"plugin type=\"{(string?)plugin["type"]}\" name=\"{list.Name}\" failed (add): {Diagnosis(call)}");
            result = Parse(call.Output) ?? throw new CniException($"plugin type=\"{(string?)plugin["type"]}\" name=\"{list.Name}\" failed (add): its result is not JSON");
        }
        return new CniResult(Addresses(result!), result!);
    }

    /// <summary>Disconnects, last plugin first. Safe to repeat; without <paramref name="added"/> the plugins get no prevResult.</summary>
    /// <exception cref="CniException">No list, or a plugin failed; later plugins are then not called.</exception>
    public async Task DeleteAsync(CniSandbox sandbox, CniResult? added, CancellationToken cancellationToken)
    {
        var list = Configuration ?? throw new CniException(NotInitialized);
        foreach (var plugin in list.Plugins.Reverse())
        {
            var call = await CallAsync(plugin, "DEL", Input(list, plugin, sandbox, added?.Raw), sandbox, cancellationToken);
            if (!call.Succeeded) throw new CniException($"plugin type=\"{(string?)plugin["type"]}\" failed (delete): {Diagnosis(call)}");
        }
    }

    /// <summary>The environment of a call; the rest is the runtime's own.</summary>
    internal static Dictionary<string, string> Environment(string command, CniSandbox? sandbox) => new()
    {
        ["CNI_COMMAND"] = command,
        ["CNI_CONTAINERID"] = sandbox?.Id ?? "",
        ["CNI_NETNS"] = sandbox?.NetworkNamespacePath ?? "",
        ["CNI_IFNAME"] = sandbox is null ? "" : "eth0",
        ["CNI_PATH"] = PluginDirectory,
        ["CNI_ARGS"] = sandbox is null
            ? ""
            : $"IgnoreUnknown=1;K8S_POD_NAMESPACE={sandbox.Namespace};K8S_POD_NAME={sandbox.PodName};" +
              $"K8S_POD_INFRA_CONTAINER_ID={sandbox.Id};K8S_POD_UID={sandbox.PodUid}",
    };

    /// <summary>Standard input of a call: the plugin's own object, the list's name and version, what it can do and what came before it.</summary>
    internal static JsonObject Input(CniConfigurationList list, JsonObject plugin, CniSandbox sandbox, JsonObject? previous)
    {
        var input = StatusInput(list, plugin);
        if (RuntimeConfiguration(plugin, sandbox) is { Count: > 0 } runtime) input["runtimeConfig"] = runtime;
        if (previous is not null) input["prevResult"] = previous.DeepClone();
        return input;
    }

    private static JsonObject StatusInput(CniConfigurationList list, JsonObject plugin)
    {
        var input = plugin.DeepClone().AsObject();
        input["cniVersion"] = list.CniVersion;
        input["name"] = list.Name;
        return input;
    }

    // Only capabilities the plugin declares, and of those the ones a kubelet fills.
    private static JsonObject RuntimeConfiguration(JsonObject plugin, CniSandbox sandbox)
    {
        var runtime = new JsonObject();
        if (plugin["capabilities"] is not JsonObject capabilities) return runtime;
        bool Declares(string name) => capabilities[name] is JsonValue value && value.TryGetValue(out bool on) && on;
        if (Declares("cgroupPath")) runtime["cgroupPath"] = sandbox.CgroupPath;
        if (Declares("dns"))
        {
            runtime["dns"] = new JsonObject
            {
                ["Servers"] = Strings(sandbox.DnsServers),
                ["Searches"] = Strings(sandbox.DnsSearches),
                ["Options"] = new JsonArray("ndots:5"),
            };
        }
        if (Declares("io.kubernetes.cri.pod-annotations"))
            runtime["io.kubernetes.cri.pod-annotations"] = new JsonObject(sandbox.Annotations.Select(a => KeyValuePair.Create(a.Key, (JsonNode?)a.Value)));
        if (Declares("portMappings") && sandbox.PortMappings.Count > 0)
        {
            runtime["portMappings"] = new JsonArray([.. sandbox.PortMappings.Select(m => new JsonObject
            {
                ["HostPort"] = m.HostPort, ["ContainerPort"] = m.ContainerPort, ["Protocol"] = m.Protocol.ToLowerInvariant(), ["HostIP"] = m.HostAddress,
            })]);
        }
        return runtime;
    }

    private async Task<CommandResult> CallAsync(JsonObject plugin, string command, JsonObject input, CniSandbox? sandbox, CancellationToken cancellationToken)
    {
        var type = (string)plugin["type"]!;
        var path = $"{PluginDirectory}/{type}";
        if (!File.Exists(node.HostPath(path)))
            return new CommandResult(1, new JsonObject { ["code"] = 4, ["msg"] = $"failed to find plugin \"{type}\" in path [{PluginDirectory}]" }.ToJsonString(s_compact), "");
        return await node.RunAsync([path], input.ToJsonString(s_compact), Environment(command, sandbox), cancellationToken);
    }

    /// <summary>What libcni says of a failed call: the plugin's message and details, or why there is none.</summary>
    internal static string Diagnosis(CommandResult call)
    {
        if (call.Output.Length == 0)
        {
            return call.Error.Length == 0
                ? $"netplugin failed with no error message: exit status {call.ExitCode}"
                : $"netplugin failed: \"{call.Error}\"";
        }
        if (Parse(call.Output) is not { } error)
            return $"netplugin failed but error parsing its diagnostic message \"{call.Output.Replace("\n", "\\n")}\": {GoSyntaxError(call.Output)}";
        var (message, details) = ((string?)error["msg"] ?? "", (string?)error["details"] ?? "");
        return details.Length > 0 ? $"{message}; {details}" : message;
    }

    // Go's encoding/json names the character where it gave up; a literal that begins like null, true or false is followed as far as it goes.
    private static string GoSyntaxError(string output)
    {
        var text = output.TrimStart();
        foreach (var literal in (string[])["null", "true", "false"])
        {
            if (text[0] != literal[0]) continue;
            var same = text.Zip(literal).TakeWhile(pair => pair.First == pair.Second).Count();
            if (same < text.Length && same < literal.Length) return $"invalid character '{text[same]}' in literal {literal} (expecting '{literal[same]}')";
        }
        return text[0] is '{' or '[' or '"' ? "unexpected end of JSON input" : $"invalid character '{text[0]}' looking for beginning of value";
    }

    private static JsonObject? Parse(string text)
    {
        try
        {
            return JsonNode.Parse(text) as JsonObject;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static string[] Addresses(JsonObject result) =>
        result["ips"] is JsonArray ips ? [.. ips.Select(ip => (string?)ip?["address"]).OfType<string>().Select(cidr => cidr.Split('/')[0])] : [];

    private static JsonArray Strings(IEnumerable<string> values) => new([.. values.Select(v => (JsonNode?)v)]);
}
