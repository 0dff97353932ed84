using System.Text.Json;
using System.Text.Json.Nodes;

namespace AmbientMesh.Cni.Node.Installation;

/// <summary>The plugin's entry in a CNI configuration list, and how lists and files change around it. Source: reference 9.6 and 9.7.</summary>
/// <remarks>Pure.</remarks>
internal static class PluginStanza
{
    public const string PluginType = "istio-cni";

    // Repeated names would be read differently by different readers, and fail here only later.
    private static readonly JsonDocumentOptions s_strict = new() { AllowDuplicateProperties = false };

    /// <summary>The name of a list made of a single plugin's file.</summary>
    public const string ConvertedName = "k8s-pod-network";

    /// <summary>The entry for a chained list.</summary>
    public static JsonObject For(AgentSettings settings) => new()
    {
        ["name"] = PluginType,
        ["type"] = PluginType,
        ["plugin_log_level"] = settings.PluginLogLevel,
        ["cni_agent_run_dir"] = settings.RunFolder,
        ["ambient_enabled"] = settings.AmbientEnabled,
        ["enablement_selectors"] = JsonSerializer.SerializeToNode([.. settings.Selectors], EnrollmentSelectorJson.Default.ListEnrollmentSelector),
        ["exclude_namespaces"] = new JsonArray([.. settings.ExcludedNamespaces.Order(StringComparer.Ordinal).Select(ns => (JsonNode?)ns)]),
        ["pod_namespace"] = settings.PodNamespace,
        ["native_nftables"] = settings.UsesNftables,
    };

    /// <summary>A list with our entry last, in place of one that was there; a single plugin's configuration becomes a list.</summary>
    /// <exception cref="FormatException">The text is no CNI configuration.</exception>
    public static JsonObject Added(string text, JsonObject stanza)
    {
        var list = ListOf(text);
        var plugins = (JsonArray)list["plugins"]!;
        RemoveOurs(plugins);
        plugins.Add(stanza.DeepClone());
        return list;
    }

    /// <summary>The list without our entry; null when it has none.</summary>
    public static JsonObject? Removed(string text)
    {
        var list = ListOf(text);
        return RemoveOurs((JsonArray)list["plugins"]!) ? list : null;
    }

    /// <summary>Whether the list holds exactly this entry, once and last.</summary>
    public static bool IsIn(string text, JsonObject stanza)
    {
        try
        {
            var plugins = (JsonArray)ListOf(text)["plugins"]!;
            return plugins.Count(IsOurs) == 1 && JsonNode.DeepEquals(plugins[^1], stanza);
        }
        catch (FormatException)
        {
            return false;
        }
    }

    /// <summary>A configuration of our plugin alone, for a delegating plugin (Multus).</summary>
    public static JsonObject Standalone(JsonObject stanza)
    {
        var alone = (JsonObject)stanza.DeepClone();
        alone.Insert(0, "cniVersion", "0.3.1");
        return alone;
    }

    private static JsonObject ListOf(string text)
    {
        try
        {
            if (JsonNode.Parse(text, null, s_strict) is not JsonObject config) throw new FormatException("it is no JSON object");
            if (config["plugins"] is JsonArray) return config;
            if ((string?)config["type"] is not { Length: > 0 }) throw new FormatException("it has neither plugins nor a type");
            var version = (string?)config["cniVersion"] ?? "0.3.1";
            config.Remove("cniVersion");
            return new JsonObject { ["name"] = ConvertedName, ["cniVersion"] = version, ["plugins"] = new JsonArray(config) };
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new FormatException($"it is not JSON: {e.Message}", e);
        }
    }

    private static bool RemoveOurs(JsonArray plugins)
    {
        var ours = plugins.Where(IsOurs).ToList();
        foreach (var plugin in ours) plugins.Remove(plugin);
        return ours.Count > 0;
    }

    private static bool IsOurs(JsonNode? plugin) => plugin is JsonObject o && o["type"]?.GetValueKind() == JsonValueKind.String && (string?)o["type"] == PluginType;
}
