namespace AmbientMesh.Kubernetes;

/// <summary>core/v1 Secret, complete. Its values are never printed.</summary>
public sealed record Secret : KubernetesObject, IResource<Secret>, IReplaceable
{
    static ResourceType IResource<Secret>.Type => ResourceType;

    public static ResourceType ResourceType { get; } = new("", "v1", "secrets", "Secret", IsNamespaced: true);

    /// <summary>Decoded values.</summary>
    public IReadOnlyDictionary<string, byte[]> Data { get; init => field = value ?? NoData; } = NoData;
    /// <summary>E.g. <c>Opaque</c>, <c>istio.io/ca-root</c>.</summary>
    public string? Type { get; init; }
    public bool? Immutable { get; init; }

    private static readonly IReadOnlyDictionary<string, byte[]> NoData = System.Collections.Frozen.FrozenDictionary<string, byte[]>.Empty;

    public override string ToString() => $"Secret {Key} ({Data.Count} values)";
}
