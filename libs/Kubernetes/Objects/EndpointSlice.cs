namespace AmbientMesh.Kubernetes;

/// <summary>discovery.k8s.io/v1 EndpointSlice.</summary>
public sealed record EndpointSlice : KubernetesObject, IResource<EndpointSlice>
{
    /// <summary>Label naming the Service, in the same namespace, which the slice belongs to.</summary>
    public const string ServiceNameLabel = "kubernetes.io/service-name";

    public static ResourceType Type { get; } = new("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", IsNamespaced: true);

    /// <summary><c>IPv4</c>, <c>IPv6</c> or <c>FQDN</c>.</summary>
    public string? AddressType { get; init; }
    public IReadOnlyList<Endpoint> Endpoints { get; init => field = value ?? []; } = [];
    public IReadOnlyList<EndpointPort> Ports { get; init => field = value ?? []; } = [];
}

public sealed record Endpoint
{
    public IReadOnlyList<string> Addresses { get; init => field = value ?? []; } = [];
    public EndpointConditions Conditions { get; init => field = value ?? new(); } = new();
    public string? Hostname { get; init; }
    public string? NodeName { get; init; }
    public string? Zone { get; init; }
    public ObjectReference? TargetRef { get; init; }
}

/// <summary>A null is read as the API says: ready and serving are true, terminating is false.</summary>
public sealed record EndpointConditions
{
    public bool? Ready { get; init; }
    public bool? Serving { get; init; }
    public bool? Terminating { get; init; }
}

public sealed record EndpointPort
{
    public string? Name { get; init; }
    /// <summary>Null: all ports.</summary>
    public int? Port { get; init; }
    public string? Protocol { get; init; }
    public string? AppProtocol { get; init; }
}
