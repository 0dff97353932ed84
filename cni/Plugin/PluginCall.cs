using System.Text.Json;

namespace AmbientMesh.Cni.Plugin;

/// <summary>What the runtime asks: the network configuration on standard input and the CNI_ variables. Source: CNI specification 1.0, sections 2 and 4; keys of the configuration: reference 9.6.</summary>
internal sealed record PluginCall
{
    public required string CniVersion { get; init; }
    public string RunFolder { get; init; } = "/var/run/istio-cni";
    public bool AmbientEnabled { get; init; }
    public IReadOnlyList<EnrollmentSelector> Selectors { get; init; } = EnrollmentSelector.Defaults;
    public IReadOnlyList<string> ExcludedNamespaces { get; init; } = [];
    /// <summary>Where agent and ztunnel run.</summary>
    public string AgentNamespace { get; init; } = "istio-system";
    /// <summary>The result of the plugins before, as it came; null when there is none.</summary>
    public string? PreviousResult { get; init; }
    /// <summary>The pod's addresses without prefix length.</summary>
    public IReadOnlyList<string> Addresses { get; init; } = [];

    /// <summary>Path of the pod's network namespace.</summary>
    public string NetworkNamespace { get; init; } = "";
    public string PodName { get; init; } = "";
    public string PodNamespace { get; init; } = "";
    public string PodUid { get; init; } = "";

    public string Pod => $"{PodNamespace}/{PodName}";

    /// <summary>Reads standard input and environment.</summary>
    /// <exception cref="FormatException">The configuration cannot be used; the message says where.</exception>
    public static PluginCall Read(ReadOnlyMemory<byte> input, Func<string, string?> environment)
    {
        try
        {
            using var document = JsonDocument.Parse(input);
            var config = document.RootElement;
            if (config.ValueKind != JsonValueKind.Object) throw new FormatException("the network configuration is no JSON object");
            var arguments = Arguments(environment("CNI_ARGS") ?? "");
            var previous = config.TryGetProperty("prevResult", out var result) && result.ValueKind == JsonValueKind.Object ? result : (JsonElement?)null;
            return new PluginCall
            {
                CniVersion = Text(config, "cniVersion", "0.3.1"),
                RunFolder = Text(config, "cni_agent_run_dir", "/var/run/istio-cni"),
                AmbientEnabled = config.TryGetProperty("ambient_enabled", out var enabled) && enabled.ValueKind == JsonValueKind.True,
                Selectors = ReadSelectors(config),
                ExcludedNamespaces = Strings(config, "exclude_namespaces"),
                AgentNamespace = Text(config, "pod_namespace", "istio-system"),
                PreviousResult = previous?.GetRawText(),
                Addresses = previous is { } p ? ReadAddresses(p) : [],
                NetworkNamespace = environment("CNI_NETNS") ?? "",
                PodName = arguments.GetValueOrDefault("K8S_POD_NAME", ""),
                PodNamespace = arguments.GetValueOrDefault("K8S_POD_NAMESPACE", ""),
                PodUid = arguments.GetValueOrDefault("K8S_POD_UID", ""),
            };
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new FormatException($"the network configuration cannot be read: {e.Message}", e);
        }
    }

    private static IReadOnlyList<EnrollmentSelector> ReadSelectors(JsonElement config)
    {
        if (!config.TryGetProperty("enablement_selectors", out var listed) || listed.ValueKind == JsonValueKind.Null) return EnrollmentSelector.Defaults;
        var selectors = listed.Deserialize(EnrollmentSelectorJson.Default.ListEnrollmentSelector) ?? [];
        return EnrollmentSelector.ProblemOf(selectors) is { } problem ? throw new FormatException($"enablement_selectors: {problem}") : selectors;
    }

    private static string[] ReadAddresses(JsonElement result) => !result.TryGetProperty("ips", out var ips) || ips.ValueKind != JsonValueKind.Array
        ? []
        : [.. ips.EnumerateArray().Select(ip => Text(ip, "address", "").Split('/')[0]).Where(ip => ip.Length > 0)];

    private static string[] Strings(JsonElement config, string name) => !config.TryGetProperty(name, out var list) || list.ValueKind != JsonValueKind.Array
        ? []
        : [.. list.EnumerateArray().Select(item => item.GetString() ?? "")];

    private static string Text(JsonElement o, string name, string fallback) =>
        o.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String && value.GetString() is { Length: > 0 } text ? text : fallback;

    private static Dictionary<string, string> Arguments(string text)
    {
        var arguments = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var pair in text.Split(';', StringSplitOptions.RemoveEmptyEntries))
            if (pair.IndexOf('=') is > 0 and var equals) arguments[pair[..equals]] = pair[(equals + 1)..];
        return arguments;
    }
}
