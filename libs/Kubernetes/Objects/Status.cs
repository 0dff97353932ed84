namespace AmbientMesh.Kubernetes;

/// <summary>meta/v1 Status: how the API server says what went wrong (or that it went well).</summary>
public sealed record Status
{
    public string? ApiVersion { get; init; }
    public string? Kind { get; init; }
    public ListMeta Metadata { get; init => field = value ?? new(); } = new();
    /// <summary><c>Success</c> or <c>Failure</c>.</summary>
    [System.Text.Json.Serialization.JsonPropertyName("status")] public string? Outcome { get; init; }
    public string? Message { get; init; }
    /// <summary>A word for machines: <c>NotFound</c>, <c>Conflict</c>, <c>Expired</c>, …</summary>
    public string? Reason { get; init; }
    public StatusDetails Details { get; init => field = value ?? new(); } = new();
    public int? Code { get; init; }
}

public sealed record StatusDetails
{
    /// <summary>Null when the kind itself is unknown to the server.</summary>
    public string? Name { get; init; }
    public string? Group { get; init; }
    public string? Kind { get; init; }
    public string? Uid { get; init; }
    public int? RetryAfterSeconds { get; init; }
    public IReadOnlyList<StatusCause> Causes { get; init => field = value ?? []; } = [];
}

public sealed record StatusCause
{
    public string? Reason { get; init; }
    public string? Message { get; init; }
    /// <summary>Path of the offending field.</summary>
    public string? Field { get; init; }
}

/// <summary>meta/v1 ListMeta.</summary>
public sealed record ListMeta
{
    public string? ResourceVersion { get; init; }
    /// <summary>Where to go on; null or empty at the end.</summary>
    public string? Continue { get; init; }
    public long? RemainingItemCount { get; init; }
}
