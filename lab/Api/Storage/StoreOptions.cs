using AmbientMesh.Lab.Api.Access;
using System.Text.Json.Nodes;

namespace AmbientMesh.Lab.Api.Storage;

/// <summary>What to do with fields the kind does not have.</summary>
public enum FieldValidation
{
    /// <summary>Drop them and warn.</summary>
    Warn,
    Ignore,
    /// <summary>Refuse the object.</summary>
    Strict,
}

/// <summary>How a write is done. Components of the cluster pass at most a <see cref="FieldManager"/>.</summary>
public sealed record WriteOptions
{
    public static WriteOptions Default { get; } = new();

    /// <summary>Owner recorded in managedFields.</summary>
    public string FieldManager { get; init; } = "kube-controller-manager";
    public bool IsDryRun { get; init; }
    public FieldValidation Validation { get; init; } = FieldValidation.Ignore;
    /// <summary>Server-side apply: take over fields of other managers.</summary>
    public bool Force { get; init; }
    /// <summary>The write comes from server-side apply, which keeps managedFields itself.</summary>
    internal bool IsApply { get; init; }
    /// <summary>Who asks; null for components inside this process.</summary>
    public UserInfo? User { get; init; }
    /// <summary>Collects warnings for the client; null drops them.</summary>
    public List<string>? Warnings { get; init; }
    /// <summary>Version the client speaks (custom resources); null for the storage version.</summary>
    public string? Version { get; init; }

    /// <summary>A component's own write under this manager name.</summary>
    public static WriteOptions By(string fieldManager) => new() { FieldManager = fieldManager };
}

/// <summary>What happens to the objects a deleted one owns.</summary>
public enum Propagation
{
    /// <summary>They go after it.</summary>
    Background,
    /// <summary>They go before it.</summary>
    Foreground,
    /// <summary>They stay.</summary>
    Orphan,
}

/// <summary>How to delete.</summary>
public sealed record DeleteOptions
{
    public static DeleteOptions Default { get; } = new();
    /// <summary>At once, as a kubelet ends a pod whose processes are gone.</summary>
    public static DeleteOptions Now { get; } = new() { GracePeriodSeconds = 0 };

    /// <summary>Seconds a pod gets; null for the pod's own, 0 for none.</summary>
    public long? GracePeriodSeconds { get; init; }
    public Propagation? Propagation { get; init; }
    public string? Uid { get; init; }
    public string? ResourceVersion { get; init; }
    public bool IsDryRun { get; init; }
}

/// <summary>Outcome of a delete.</summary>
/// <param name="Object">The object's last state.</param>
/// <param name="IsRemoved">False while finalizers or a grace period hold it.</param>
public sealed record DeleteResult(JsonObject Object, bool IsRemoved);

/// <summary>A list at one point in time. Objects are shared and must not be changed.</summary>
public sealed record ObjectList(IReadOnlyList<JsonObject> Items, long ResourceVersion)
{
    /// <summary>Token for the next chunk; null at the end.</summary>
    public string? Continue { get; init; }
    public long? Remaining { get; init; }
}
