using System.Text.Json.Serialization;

namespace AmbientMesh.Kubernetes;

/// <summary>What the mesh says about an object of its own kinds.</summary>
[Schema(KeepsUnknown = true)]
public record MeshStatus
{
    /// <summary>Claims about the object, one for each type.</summary>
    public IReadOnlyList<MeshCondition> Conditions { get; init => field = value ?? []; } = [];

    /// <summary>Generation of the spec that the status speaks of.</summary>
    [Schema(IntOrString = true)]
    [JsonNumberHandling(JsonNumberHandling.AllowReadingFromString)]
    public long? ObservedGeneration { get; init; }

    /// <summary>Findings of analyzers.</summary>
    public IReadOnlyList<ValidationMessage> ValidationMessages { get; init => field = value ?? []; } = [];
}

/// <summary>A condition as the mesh's kinds carry it.</summary>
public sealed record MeshCondition
{
    /// <summary>What is claimed.</summary>
    public string Type { get; init => field = value ?? ""; } = "";
    /// <summary>True, False or Unknown.</summary>
    public string Status { get; init => field = value ?? ""; } = "";
    /// <summary>One CamelCase word.</summary>
    public string? Reason { get; init; }
    /// <summary>For people.</summary>
    public string? Message { get; init; }
    /// <summary>Generation of the spec that it speaks of.</summary>
    [Schema(IntOrString = true)]
    [JsonNumberHandling(JsonNumberHandling.AllowReadingFromString)]
    public long? ObservedGeneration { get; init; }
    /// <summary>When it was last looked at.</summary>
    public DateTimeOffset? LastProbeTime { get; init; }
    /// <summary>When the status last changed.</summary>
    public DateTimeOffset? LastTransitionTime { get; init; }
}

/// <summary>One finding of an analyzer.</summary>
public sealed record ValidationMessage
{
    /// <summary>Where it is explained.</summary>
    public string? DocumentationUrl { get; init; }
    /// <summary>How bad it is.</summary>
    [Schema(Enum = ["UNKNOWN", "ERROR", "WARNING", "INFO"])] public string? Level { get; init; }
    /// <summary>What it is.</summary>
    public ValidationMessageType? Type { get; init; }
}

/// <summary>The kind of a finding.</summary>
public sealed record ValidationMessageType
{
    /// <summary>Seven characters.</summary>
    public string? Code { get; init; }
    /// <summary>For people.</summary>
    public string? Name { get; init; }
}
