using System.Text.Json.Serialization;

namespace AmbientMesh.Cni;

/// <summary>One entry of AMBIENT_ENABLEMENT_SELECTOR: which pods of which namespaces join the mesh. Compiled into the agent and into the plugin.</summary>
internal sealed record EnrollmentSelector
{
    /// <summary>Label on a pod or namespace: <c>ambient</c> or <c>none</c>.</summary>
    public const string ModeLabel = "istio.io/dataplane-mode";

    public LabelSelector? PodSelector { get; init; }
    public LabelSelector? NamespaceSelector { get; init; }

    /// <summary>A pod labelled so itself; a namespace labelled so, but for pods that say none.</summary>
    public static IReadOnlyList<EnrollmentSelector> Defaults { get; } =
    [
        new() { PodSelector = new LabelSelector { MatchLabels = new Dictionary<string, string> { [ModeLabel] = "ambient" } } },
        new()
        {
            NamespaceSelector = new LabelSelector { MatchLabels = new Dictionary<string, string> { [ModeLabel] = "ambient" } },
            PodSelector = new LabelSelector { MatchExpressions = [new LabelRequirement { Key = ModeLabel, Operator = "NotIn", Values = ["none"] }] },
        },
    ];

    /// <summary>Both selectors hold; an absent or empty one holds always.</summary>
    public bool Matches(IReadOnlyDictionary<string, string> podLabels, IReadOnlyDictionary<string, string> namespaceLabels) =>
        PodSelector?.Matches(podLabels) != false && NamespaceSelector?.Matches(namespaceLabels) != false;

    /// <summary>Any entry matches.</summary>
    public static bool Any(IEnumerable<EnrollmentSelector> selectors, IReadOnlyDictionary<string, string> podLabels, IReadOnlyDictionary<string, string> namespaceLabels) =>
        selectors.Any(selector => selector.Matches(podLabels, namespaceLabels));

    /// <summary>What is wrong with the entries; null when they can be used.</summary>
    public static string? ProblemOf(IEnumerable<EnrollmentSelector?> selectors) =>
        selectors.Select(s => s is null ? "an entry is null" : s.PodSelector?.Problem() ?? s.NamespaceSelector?.Problem()).FirstOrDefault(problem => problem is not null);
}

/// <summary>meta/v1 LabelSelector: all labels and all requirements hold.</summary>
internal sealed record LabelSelector
{
    public IReadOnlyDictionary<string, string>? MatchLabels { get; init; }
    public IReadOnlyList<LabelRequirement?>? MatchExpressions { get; init; }

    public bool Matches(IReadOnlyDictionary<string, string> labels) =>
        (MatchLabels ?? new Dictionary<string, string>()).All(wanted => labels.TryGetValue(wanted.Key, out var value) && value == wanted.Value)
        && (MatchExpressions ?? []).All(requirement => requirement!.Holds(labels));

    public string? Problem() =>
        (MatchExpressions ?? []).Select(requirement => requirement is null ? "a label requirement is null" : requirement.Problem()).FirstOrDefault(problem => problem is not null);
}

/// <summary>meta/v1 LabelSelectorRequirement.</summary>
internal sealed record LabelRequirement
{
    public string Key { get; init; } = "";
    public string Operator { get; init; } = "";
    public IReadOnlyList<string>? Values { get; init; }

    public bool Holds(IReadOnlyDictionary<string, string> labels)
    {
        var present = labels.TryGetValue(Key, out var value);
        var listed = present && Values?.Contains(value!) == true;
        return Operator switch
        {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => present,
            "DoesNotExist" => !present,
            _ => throw new InvalidOperationException(Problem()),
        };
    }

    public string? Problem() => Operator is "In" or "NotIn" or "Exists" or "DoesNotExist"
        ? (string.IsNullOrEmpty(Key) ? "a label requirement has no key" : null)
        : $"label requirement on '{Key}' has operator '{Operator}'; expected In, NotIn, Exists or DoesNotExist";
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(List<EnrollmentSelector>))]
internal sealed partial class EnrollmentSelectorJson : JsonSerializerContext;
