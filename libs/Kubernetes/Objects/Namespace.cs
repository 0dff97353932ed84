namespace AmbientMesh.Kubernetes;

/// <summary>core/v1 Namespace.</summary>
public sealed record Namespace : KubernetesObject, IResource<Namespace>
{
    public static ResourceType Type { get; } = new("", "v1", "namespaces", "Namespace", IsNamespaced: false);

    public NamespaceStatus Status { get; init => field = value ?? new(); } = new();
}

public sealed record NamespaceStatus
{
    /// <summary><c>Active</c> or <c>Terminating</c>.</summary>
    public string? Phase { get; init; }
}
