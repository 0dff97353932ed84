using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation;

/// <summary>Whether labels match a selector as Kubernetes defines it (meta/v1 LabelSelector). Pure.</summary>
internal static class LabelSelection
{
    /// <summary>An operator nobody knows matches nothing.</summary>
    public static bool Matches(LabelSelector selector, IReadOnlyDictionary<string, string> labels) =>
        selector.MatchLabels.All(term => labels.TryGetValue(term.Key, out var value) && value == term.Value)
        && selector.MatchExpressions.All(term => Holds(term, labels.GetValueOrDefault(term.Key)));

    private static bool Holds(LabelRequirement term, string? value) => term.Operator switch
    {
        "In" => value is not null && term.Values.Contains(value),
        "NotIn" => value is null || !term.Values.Contains(value),
        "Exists" => value is not null,
        "DoesNotExist" => value is null,
        _ => false,
    };
}
