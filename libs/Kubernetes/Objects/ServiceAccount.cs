namespace AmbientMesh.Kubernetes;

/// <summary>core/v1 ServiceAccount.</summary>
public sealed record ServiceAccount : KubernetesObject, IResource<ServiceAccount>
{
    public static ResourceType Type { get; } = new("", "v1", "serviceaccounts", "ServiceAccount", IsNamespaced: true);
}
