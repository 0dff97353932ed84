using System.Text.Json;
using System.Text.Json.Serialization;

namespace AmbientMesh.Kubernetes;

/// <summary>coordination.k8s.io/v1 Lease; fields this client does not know are kept.</summary>
public sealed record Lease : KubernetesObject, IResource<Lease>, IReplaceable
{
    public static ResourceType Type { get; } = new("coordination.k8s.io", "v1", "leases", "Lease", IsNamespaced: true);

    public LeaseSpec Spec { get; init => field = value ?? new(); } = new();
}

public sealed record LeaseSpec
{
    /// <summary>Null or empty: nobody holds it.</summary>
    public string? HolderIdentity { get; init; }
    public int? LeaseDurationSeconds { get; init; }
    [JsonConverter(typeof(MicroTimeConverter))] public DateTimeOffset? AcquireTime { get; init; }
    [JsonConverter(typeof(MicroTimeConverter))] public DateTimeOffset? RenewTime { get; init; }
    public int? LeaseTransitions { get; init; }
    [JsonExtensionData] public IDictionary<string, JsonElement>? Other { get; set; }
}
