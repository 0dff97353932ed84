namespace AmbientMesh.Xds;

/// <summary>The resource types of the mesh (reference 4.4).</summary>
public static class TypeUrls
{
    /// <summary>Workloads and services, as ztunnel asks for them.</summary>
    public const string Address = "type.googleapis.com/istio.workload.Address";

    /// <summary>L4 policies.</summary>
    public const string Authorization = "type.googleapis.com/istio.security.Authorization";

    /// <summary>Workloads alone, for other clients.</summary>
    public const string Workload = "type.googleapis.com/istio.workload.Workload";

    /// <summary>Subscribes to everything, or with the same name unsubscribed to nothing but what is named.</summary>
    public const string WildcardName = "*";
}
