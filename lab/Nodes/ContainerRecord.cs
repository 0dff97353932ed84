using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Nodes;

/// <summary>Which part a container plays in its pod.</summary>
public enum ContainerRole
{
    /// <summary>Runs to its end before the next starts.</summary>
    Init,
    /// <summary>An init container that stays (restartPolicy Always).</summary>
    Sidecar,
    Main,
}

/// <summary>What a container's status shows as <c>state</c>. Exactly one case holds.</summary>
public abstract record ContainerState
{
    private ContainerState() { }

    public sealed record Waiting(string Reason, string? Message = null) : ContainerState;

    public sealed record Running(DateTimeOffset StartedAt) : ContainerState;

    public sealed record Terminated(int ExitCode, string Reason, string? Message, DateTimeOffset StartedAt, DateTimeOffset FinishedAt, string ContainerId) : ContainerState;
}

/// <summary>What the kubelet knows of one container now; immutable, replaced whole.</summary>
/// <param name="Spec">The container of the pod's spec.</param>
public sealed record ContainerRecord(JsonObject Spec, ContainerRole Role, ContainerState State)
{
    public ContainerState.Terminated? Last { get; init; }
    public bool Ready { get; init; }

    /// <summary>The startup probe, if any, has succeeded.</summary>
    public bool Started { get; init; }

    public int RestartCount { get; init; }
    public string ImageId { get; init; } = "";
    public string ContainerId { get; init; } = "";
    public long User { get; init; }
    public long Group { get; init; }

    public string Name => Spec.Text("name") ?? "";
}
