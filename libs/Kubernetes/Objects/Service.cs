using System.Text.Json.Serialization;

namespace AmbientMesh.Kubernetes;

/// <summary>core/v1 Service, the fields a mesh reads.</summary>
public sealed record Service : KubernetesObject, IResource<Service>
{
    public static ResourceType Type { get; } = new("", "v1", "services", "Service", IsNamespaced: true);

    public ServiceSpec Spec { get; init => field = value ?? new(); } = new();
    public ServiceStatus Status { get; init => field = value ?? new(); } = new();

    /// <summary>No virtual address: <c>clusterIP: None</c>.</summary>
    [JsonIgnore] public bool IsHeadless => Spec.ClusterIP == "None";
}

public sealed record ServiceSpec
{
    /// <summary><c>ClusterIP</c> (also when null), <c>NodePort</c>, <c>LoadBalancer</c> or <c>ExternalName</c>.</summary>
    public string? Type { get; init; }
    /// <summary>An address, <c>None</c>, or empty.</summary>
    public string? ClusterIP { get; init; }
    public IReadOnlyList<string> ClusterIPs { get; init => field = value ?? []; } = [];
    [JsonPropertyName("externalIPs")] public IReadOnlyList<string> ExternalIPs { get; init => field = value ?? []; } = [];
    public IReadOnlyList<string> IpFamilies { get; init => field = value ?? []; } = [];
    public string? IpFamilyPolicy { get; init; }
    public string? ExternalName { get; init; }
    public IReadOnlyDictionary<string, string> Selector { get; init => field = value ?? Empty.Strings; } = Empty.Strings;
    public IReadOnlyList<ServicePort> Ports { get; init => field = value ?? []; } = [];
    public bool? PublishNotReadyAddresses { get; init; }
    public string? InternalTrafficPolicy { get; init; }
    public string? ExternalTrafficPolicy { get; init; }
    /// <summary><c>PreferClose</c>, <c>PreferSameZone</c>, <c>PreferSameNode</c> or null.</summary>
    public string? TrafficDistribution { get; init; }
    public string? SessionAffinity { get; init; }
}

public sealed record ServicePort
{
    public string? Name { get; init; }
    /// <summary><c>TCP</c> when null.</summary>
    public string? Protocol { get; init; }
    public string? AppProtocol { get; init; }
    public int Port { get; init; }
    /// <summary>A port number or the name of a container's port; equals <see cref="Port"/> when null.</summary>
    public IntOrString? TargetPort { get; init; }
    public int? NodePort { get; init; }
}

public sealed record ServiceStatus
{
    public LoadBalancerStatus LoadBalancer { get; init => field = value ?? new(); } = new();
    public IReadOnlyList<Condition> Conditions { get; init => field = value ?? []; } = [];
}

public sealed record LoadBalancerStatus
{
    public IReadOnlyList<LoadBalancerIngress> Ingress { get; init => field = value ?? []; } = [];
}

public sealed record LoadBalancerIngress
{
    public string? Ip { get; init; }
    public string? Hostname { get; init; }
    public string? IpMode { get; init; }
}
