using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Kubernetes;

/// <summary>The policies users write, as the API server keeps them. They are read as JSON: one that cannot be understood must be reported on, not passed over.</summary>
public static class PolicyKinds
{
    public static ResourceType AuthorizationPolicy { get; } = new("security.istio.io", "v1", "authorizationpolicies", "AuthorizationPolicy", IsNamespaced: true);
    public static ResourceType PeerAuthentication { get; } = new("security.istio.io", "v1", "peerauthentications", "PeerAuthentication", IsNamespaced: true);
}
