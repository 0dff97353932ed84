using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Api.Semantics;

/// <summary>Which kind follows which rule.</summary>
public static class KindRules
{
    public static KindRule Plain { get; } = new();

    public static IReadOnlyDictionary<GroupResource, KindRule> All { get; } = new Dictionary<GroupResource, KindRule>
    {
    };
}
