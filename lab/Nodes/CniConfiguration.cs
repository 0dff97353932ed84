using System.Text.Json;
using System.Text.Json.Nodes;

namespace AmbientMesh.Lab.Nodes;

/// <summary>A CNI network configuration list. Source: CNI specification 1.0, section 1.</summary>
/// <param name="Plugins">The plugins in calling order, each as written in the file.</param>
public sealed record CniConfigurationList(string Name, string CniVersion, IReadOnlyList<JsonObject> Plugins)
{
    private static readonly string[] s_extensions = [".conf", ".conflist", ".json"];

    /// <summary>The list the runtime uses: the first usable file of the folder in name order; null when there is none.</summary>
    public static CniConfigurationList? Load(string directory)
    {
        if (!Directory.Exists(directory)) return null;
        return Directory.EnumerateFiles(directory)
            .Where(file => s_extensions.Contains(Path.GetExtension(file)))
            .Order(StringComparer.Ordinal)
            .Select(Read)
            .FirstOrDefault(list => list is not null);
    }

    /// <summary>Null for anything that is not a usable configuration: the runtime passes over such files.</summary>
    public static CniConfigurationList? Parse(string text)
    {
        try
        {
            if (JsonNode.Parse(text) is not JsonObject root || (string?)root["name"] is not { Length: > 0 } name) return null;
            var version = (string?)root["cniVersion"] ?? "0.1.0";
            if (root["plugins"] is JsonArray plugins)
            {
                var list = plugins.OfType<JsonObject>().Where(p => (string?)p["type"] is { Length: > 0 }).ToArray();
                return list.Length > 0 && list.Length == plugins.Count ? new CniConfigurationList(name, version, list) : null;
            }
            return (string?)root["type"] is { Length: > 0 } ? new CniConfigurationList(name, version, [root]) : null;
        }
        catch (Exception malformed) when (malformed is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    private static CniConfigurationList? Read(string file)
    {
        try
        {
            return Parse(File.ReadAllText(file));
        }
        catch (IOException)
        {
            return null;   // being replaced at this moment
        }
    }
}
