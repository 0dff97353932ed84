using AmbientMesh.ControlPlane.Translation.Entries;
using AmbientMesh.Kubernetes;
using YamlDotNet.RepresentationModel;

namespace AmbientMesh.ControlPlane.Settings;

/// <summary>Reads <c>serviceEntryVisibility</c> of the mesh configuration: <c>defaultVisibility</c>, and <c>policies[]</c> of <c>visibility</c> and <c>matchingRules[].namespaceSelector</c>.</summary>
/// <remarks>A mistake must not publish hosts to everyone: a word that is no visibility counts as NAMESPACE, a rule that cannot be read matches nothing, and where anything
/// is not of the form it should be, a default of PUBLIC counts as NAMESPACE.</remarks>
internal sealed class VisibilityConfiguration
{
    private const string Root = "serviceEntryVisibility";

    private readonly List<string> _problems = [];

    private VisibilityConfiguration()
    {
    }

    /// <returns>Null when the configuration does not speak of it.</returns>
    /// <exception cref="FormatException">The ConfigMap holds no YAML.</exception>
    public static EntryVisibilityRules? Of(ConfigMap map) =>
        MeshConfiguration.RootOf(map) is { } root && root.Children.TryGetValue(Root, out var found) && !IsNull(found) ? new VisibilityConfiguration().Rules(found) : null;

    private EntryVisibilityRules Rules(YamlNode found)
    {
        var policies = new List<EntryVisibilityPolicy>();
        var byDefault = EntryVisibility.Namespace;
        if (Mapping(found, Root) is { } rules)
        {
            byDefault = VisibilityOf(rules, "defaultVisibility", EntryVisibility.Public);
            policies.AddRange((List(rules, "policies") ?? []).Select(policy => Mapping(policy, "policies[]")).OfType<YamlMappingNode>().Select(PolicyOf));
        }
        if (_problems.Count > 0 && byDefault == EntryVisibility.Public) byDefault = EntryVisibility.Namespace;
        return new EntryVisibilityRules(byDefault, policies) { Problems = _problems };
    }

    private EntryVisibilityPolicy PolicyOf(YamlMappingNode policy) => new(
        VisibilityOf(policy, "visibility", EntryVisibility.Namespace),
        policy.Children.ContainsKey("matchingRules") && List(policy, "matchingRules") is not { } ? [Nothing] : [.. (List(policy, "matchingRules") ?? []).Select(SelectorOf)]);

    private EntryVisibility VisibilityOf(YamlMappingNode node, string name, EntryVisibility otherwise)
    {
        if (!node.Children.TryGetValue(name, out var found) || IsNull(found)) return otherwise;
        switch ((found as YamlScalarNode)?.Value?.ToUpperInvariant())
        {
            case "PUBLIC": return EntryVisibility.Public;
            case "NAMESPACE": return EntryVisibility.Namespace;
            case "NONE": return EntryVisibility.None;
            default:
                _problems.Add($"{name} is neither PUBLIC, NAMESPACE nor NONE");
                return EntryVisibility.Namespace;
        }
    }

    private LabelSelector SelectorOf(YamlNode rule)
    {
        var before = _problems.Count;
        if (Mapping(rule, "matchingRules[]") is not { } mapping) return Nothing;
        if (!mapping.Children.TryGetValue("namespaceSelector", out var found) || Mapping(found, "namespaceSelector") is not { } selector)
        {
            if (_problems.Count == before) _problems.Add("a matching rule has no namespaceSelector");
            return Nothing;
        }
        var labels = new Dictionary<string, string>();
        if (selector.Children.TryGetValue("matchLabels", out var terms) && !IsNull(terms) && Mapping(terms, "matchLabels") is { } pairs)
            foreach (var (key, value) in pairs.Children)
                labels[Text(key, "a key of matchLabels")] = Text(value, "a value of matchLabels");
        var expressions = (List(selector, "matchExpressions") ?? []).Select(Requirement).ToList();
        return _problems.Count > before ? Nothing : new LabelSelector { MatchLabels = labels, MatchExpressions = expressions };
    }

    private LabelRequirement Requirement(YamlNode node)
    {
        if (Mapping(node, "matchExpressions[]") is not { } expression) return new LabelRequirement();
        var values = List(expression, "values") ?? [];
        var requirement = new LabelRequirement
        {
            Key = Text(expression, "key"),
            Operator = Text(expression, "operator"),
            Values = [.. values.Select(value => Text(value, "an entry of values"))],
        };
        // As Kubernetes has it: NotIn with nothing would match everything.
        if (requirement.Operator is not ("In" or "NotIn" or "Exists" or "DoesNotExist")) _problems.Add($"'{requirement.Operator}' is no operator of matchExpressions");
        else if (requirement.Operator is "In" or "NotIn" && requirement.Values.Count == 0) _problems.Add($"{requirement.Operator} has no values");
        return requirement;
    }

    private static LabelSelector Nothing { get; } = new() { MatchExpressions = [new LabelRequirement { Operator = "In" }] };

    private YamlMappingNode? Mapping(YamlNode node, string name)
    {
        if (node is YamlMappingNode mapping) return mapping;
        _problems.Add($"{name} is no mapping");
        return null;
    }

    /// <summary>Null when it is absent, or is something else, which is then a problem.</summary>
    private IReadOnlyList<YamlNode>? List(YamlMappingNode node, string name)
    {
        if (!node.Children.TryGetValue(name, out var found) || IsNull(found)) return null;
        if (found is YamlSequenceNode list) return [.. list.Children];
        _problems.Add($"{name} is no list");
        return null;
    }

    private string Text(YamlMappingNode node, string name) => node.Children.TryGetValue(name, out var found) ? Text(found, name) : Text((YamlNode?)null, name);

    private string Text(YamlNode? node, string name)
    {
        if (node is YamlScalarNode { Value: { Length: > 0 } value }) return value;
        if (node is YamlScalarNode && name.StartsWith("a value", StringComparison.Ordinal)) return "";   // a label may be empty
        _problems.Add($"{name} is missing or no text");
        return "";
    }

    private static bool IsNull(YamlNode node) => node is YamlScalarNode { Style: YamlDotNet.Core.ScalarStyle.Plain, Value: null or "" or "~" or "null" };
}
