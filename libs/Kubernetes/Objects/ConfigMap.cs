namespace AmbientMesh.Kubernetes;

/// <summary>core/v1 ConfigMap, complete.</summary>
public sealed record ConfigMap : KubernetesObject, IResource<ConfigMap>, IReplaceable
{
    public static ResourceType Type { get; } = new("", "v1", "configmaps", "ConfigMap", IsNamespaced: true);

    public IReadOnlyDictionary<string, string> Data { get; init => field = value ?? Empty.Strings; } = Empty.Strings;
    public IReadOnlyDictionary<string, byte[]>? BinaryData { get; init; }
    public bool? Immutable { get; init; }
}
