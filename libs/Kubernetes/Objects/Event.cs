using System.Text.Json;
using System.Text.Json.Serialization;

namespace AmbientMesh.Kubernetes;

/// <summary>core/v1 Event; fields this client does not know are kept.</summary>
public sealed record Event : KubernetesObject, IResource<Event>, IReplaceable
{
    static ResourceType IResource<Event>.Type => ResourceType;

    public static ResourceType ResourceType { get; } = new("", "v1", "events", "Event", IsNamespaced: true);

    public ObjectReference InvolvedObject { get; init => field = value ?? new(); } = new();
    public string? Reason { get; init; }
    public string? Message { get; init; }
    /// <summary><c>Normal</c> or <c>Warning</c>.</summary>
    public string? Type { get; init; }
    public int? Count { get; init; }
    public DateTimeOffset? FirstTimestamp { get; init; }
    public DateTimeOffset? LastTimestamp { get; init; }
    public EventSource Source { get; init => field = value ?? new(); } = new();
    public string? ReportingComponent { get; init; }
    public string? ReportingInstance { get; init; }
    [JsonExtensionData] public IDictionary<string, JsonElement>? Other { get; set; }
}

public sealed record EventSource
{
    public string? Component { get; init; }
    public string? Host { get; init; }
}
