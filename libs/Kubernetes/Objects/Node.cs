using System.Text.Json.Serialization;

namespace AmbientMesh.Kubernetes;

/// <summary>core/v1 Node, the fields a mesh reads.</summary>
public sealed record Node : KubernetesObject, IResource<Node>
{
    public static ResourceType Type { get; } = new("", "v1", "nodes", "Node", IsNamespaced: false);

    public NodeSpec Spec { get; init => field = value ?? new(); } = new();
    public NodeStatus Status { get; init => field = value ?? new(); } = new();
}

public sealed record NodeSpec
{
    public string? PodCIDR { get; init; }
    public IReadOnlyList<string> PodCIDRs { get; init => field = value ?? []; } = [];
    [JsonPropertyName("providerID")] public string? ProviderId { get; init; }
    public bool? Unschedulable { get; init; }
    public IReadOnlyList<Taint> Taints { get; init => field = value ?? []; } = [];
}

public sealed record Taint
{
    public string Key { get; init => field = value ?? ""; } = "";
    public string? Value { get; init; }
    public string Effect { get; init => field = value ?? ""; } = "";
    public DateTimeOffset? TimeAdded { get; init; }
}

public sealed record NodeStatus
{
    public IReadOnlyList<NodeAddress> Addresses { get; init => field = value ?? []; } = [];
    public IReadOnlyList<Condition> Conditions { get; init => field = value ?? []; } = [];
}

/// <summary><see cref="Type"/> is <c>InternalIP</c>, <c>ExternalIP</c>, <c>Hostname</c>, …</summary>
public sealed record NodeAddress
{
    public string Type { get; init => field = value ?? ""; } = "";
    public string Address { get; init => field = value ?? ""; } = "";
}
