namespace AmbientMesh.ControlPlane.Translation;

/// <summary>What every translated resource shares: which cluster it is of and how its names are formed. Fixed for the life of the process.</summary>
public sealed record MeshScope
{
    /// <summary>The trust domain that is left out on the wire: a client that finds none assumes it.</summary>
    public const string DefaultTrustDomain = "cluster.local";

    /// <summary>First part of every uid.</summary>
    public string ClusterId { get; init; } = "Kubernetes";

    public string TrustDomain { get; init; } = DefaultTrustDomain;

    /// <summary>DNS suffix of service hostnames.</summary>
    public string DomainSuffix { get; init; } = "cluster.local";

    /// <summary>The control plane's own namespace, whose label names the network of this cluster.</summary>
    public string SystemNamespace { get; init; } = "istio-system";

    /// <summary>Policies without a selector in this namespace are mesh-wide; the system namespace unless MeshConfig says otherwise.</summary>
    public string RootNamespace { get => field ?? SystemNamespace; init; }

    /// <summary>Ztunnels are sent policies marked as dry run.</summary>
    public bool SendsDryRunPolicies { get; init; }

    /// <summary>DENY rules with attributes of requests deny only what ztunnels can judge, and nothing where that is nothing; otherwise they deny all they could be about.</summary>
    public bool IgnoresUnjudgedDenials { get; init; }

    /// <summary>Workloads behind a waypoint allow its identity, and so no other's unless an ALLOW policy says so.</summary>
    public bool AllowsFromWaypoints { get; init; }

    /// <summary>The trust domain as a workload carries it: empty for the default (reference 4.8).</summary>
    public string WireTrustDomain => TrustDomain == DefaultTrustDomain ? "" : TrustDomain;

    public string Hostname(string serviceName, string ns) => $"{serviceName}.{ns}.svc.{DomainSuffix}";

    /// <summary>Name of a service's resource, and its key in <c>Workload.services</c>: <c>namespace/hostname</c>.</summary>
    public string ServiceResourceName(string serviceName, string ns) => $"{ns}/{Hostname(serviceName, ns)}";

    /// <summary>Uid of a pod's workload (reference 4.4).</summary>
    public string PodUid(string ns, string name) => $"{ClusterId}//Pod/{ns}/{name}";

    /// <summary>Uid of a WorkloadEntry's workload.</summary>
    public string WorkloadEntryUid(string ns, string name) => $"{ClusterId}/networking.istio.io/WorkloadEntry/{ns}/{name}";

    /// <summary>Uid of the workload behind one endpoint written into a ServiceEntry.</summary>
    public string ServiceEntryEndpointUid(string ns, string entry, string address) => $"{ClusterId}/networking.istio.io/ServiceEntry/{ns}/{entry}/{address}";

    /// <summary>Uid of the workload behind one address of an EndpointSlice that is no pod (reference 4.4).</summary>
    public string EndpointUid(string ns, string slice, string address) => $"{ClusterId}/discovery.k8s.io/EndpointSlice/{ns}/{slice}/{address}";
}
