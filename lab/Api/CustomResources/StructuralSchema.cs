using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Api.CustomResources;

/// <summary>Pruning and defaulting by a structural schema.</summary>
internal static class StructuralSchema
{
    /// <summary>Removes fields the schema does not specify; returns their paths.</summary>
    public static List<string> Prune(JsonObject o, JsonObject? schema)
    {
        var pruned = new List<string>();
        if (schema is not null && schema.Flag("x-kubernetes-preserve-unknown-fields") != true) PruneObject(o, schema, "", pruned, isRoot: true);
        return pruned;
    }

    private static void PruneObject(JsonObject o, JsonObject schema, string path, List<string> pruned, bool isRoot)
    {
        var properties = schema.Map("properties");
        var preserves = schema.Flag("x-kubernetes-preserve-unknown-fields") == true;
        var embedded = schema.Flag("x-kubernetes-embedded-resource") == true;
        var others = schema["additionalProperties"];
        foreach (var (name, value) in o.ToList())
        {
            if ((isRoot || embedded) && name is "apiVersion" or "kind" or "metadata") continue;
            if (properties.Map(name) is { } property) PruneValue(value, property, path + name, pruned);
            else if (others is JsonObject additional) PruneValue(value, additional, path + name, pruned);
            else if (!preserves && others?.GetValueKind() != JsonValueKind.True)
            {
                o.Remove(name);
                pruned.Add(path + name);
            }
        }
    }

    private static void PruneValue(JsonNode? value, JsonObject schema, string path, List<string> pruned)
    {
        switch (value)
        {
            case JsonObject o when schema.Text("type") == "object" || schema.Map("properties") is not null:
                PruneObject(o, schema, path + ".", pruned, isRoot: false);
                break;
            case JsonArray list when schema.Map("items") is { } items:
                for (var i = 0; i < list.Count; i++) PruneValue(list[i], items, $"{path}[{i}]", pruned);
                break;
        }
    }

    /// <summary>Fills in the schema's defaults, also below objects that a default brought in.</summary>
    public static void Default(JsonNode? value, JsonObject? schema)
    {
        switch (value)
        {
            case JsonObject o:
                foreach (var (name, property) in schema.Map("properties") ?? [])
                {
                    if (property is not JsonObject p) continue;
                    // A null where null is not allowed counts as absent.
                    if (o.TryGetPropertyValue(name, out var present) && present is null && p.Flag("nullable") != true)
                    {
                        if (p.ContainsKey("default")) o.Remove(name);
                        else continue;
                    }
                    if (!o.ContainsKey(name) && p["default"] is { } fallback) o[name] = JsonTree.CopyNode(fallback);
                    Default(o[name], p);
                }
                if (schema.Map("additionalProperties") is { } others)
                    foreach (var (name, child) in o)
                        if (schema.Map("properties")?.ContainsKey(name) != true) Default(child, others);
                break;
            case JsonArray list when schema.Map("items") is { } items:
                foreach (var item in list) Default(item, items);
                break;
        }
    }
}
