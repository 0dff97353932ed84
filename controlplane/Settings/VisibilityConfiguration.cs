using AmbientMesh.ControlPlane.Translation.Entries;
using AmbientMesh.Kubernetes;
using YamlDotNet.RepresentationModel;

namespace AmbientMesh.ControlPlane.Settings;

/// <summary>Reads <c>serviceEntryVisibility</c> of the mesh configuration: <c>defaultVisibility</c>, and <c>policies[]</c> of <c>visibility</c> and <c>matchingRules[].namespaceSelector</c>.</summary>
/// <remarks>A word that is no visibility counts as NAMESPACE, and a rule that cannot be read matches nothing: a mistake must not publish hosts to everyone.</remarks>
internal static class VisibilityConfiguration
{
    /// <returns>Null when the configuration does not speak of it.</returns>
    /// <exception cref="FormatException">The ConfigMap holds no YAML.</exception>
    public static EntryVisibilityRules? Of(ConfigMap map) =>
        MeshConfiguration.RootOf(map) is { } root && root.Children.TryGetValue("serviceEntryVisibility", out var found) && found is YamlMappingNode rules
            ? new EntryVisibilityRules(VisibilityOf(rules, "defaultVisibility", EntryVisibility.Public), [.. ListOf(rules, "policies").Select(PolicyOf)])
            : null;

    private static EntryVisibilityPolicy PolicyOf(YamlMappingNode policy) =>
        new(VisibilityOf(policy, "visibility", EntryVisibility.Namespace), [.. ListOf(policy, "matchingRules").Select(SelectorOf)]);

    private static EntryVisibility VisibilityOf(YamlMappingNode node, string name, EntryVisibility otherwise) => TextOf(node, name)?.ToUpperInvariant() switch
    {
        null or "" => otherwise,
        "PUBLIC" => EntryVisibility.Public,
        "NONE" => EntryVisibility.None,
        _ => EntryVisibility.Namespace,
    };

    private static LabelSelector SelectorOf(YamlMappingNode rule)
    {
        if (!rule.Children.TryGetValue("namespaceSelector", out var found) || found is not YamlMappingNode selector) return Nothing;
        var labels = selector.Children.TryGetValue("matchLabels", out var match) && match is YamlMappingNode terms
            ? terms.Children.ToDictionary(t => ((YamlScalarNode)t.Key).Value ?? "", t => (t.Value as YamlScalarNode)?.Value ?? "")
            : [];
        var expressions = ListOf(selector, "matchExpressions").Select(e => new LabelRequirement { Key = TextOf(e, "key") ?? "", Operator = TextOf(e, "operator") ?? "", Values = ValuesOf(e) });
        return new LabelSelector { MatchLabels = labels, MatchExpressions = [.. expressions] };
    }

    private static LabelSelector Nothing { get; } = new() { MatchExpressions = [new LabelRequirement { Operator = "In" }] };

    private static IReadOnlyList<string> ValuesOf(YamlMappingNode expression) =>
        expression.Children.TryGetValue("values", out var found) && found is YamlSequenceNode values ? [.. values.Children.OfType<YamlScalarNode>().Select(v => v.Value ?? "")] : [];

    private static IEnumerable<YamlMappingNode> ListOf(YamlMappingNode node, string name) =>
        node.Children.TryGetValue(name, out var found) && found is YamlSequenceNode list ? list.Children.OfType<YamlMappingNode>() : [];

    private static string? TextOf(YamlMappingNode node, string name) => node.Children.TryGetValue(name, out var found) ? (found as YamlScalarNode)?.Value : null;
}
