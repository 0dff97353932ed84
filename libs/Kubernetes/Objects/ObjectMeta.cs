namespace AmbientMesh.Kubernetes;

/// <summary>Metadata every object carries (meta/v1 ObjectMeta). Complete but for <c>managedFields</c>, which a server keeps when a write leaves them out.</summary>
public sealed record ObjectMeta
{
    public string? Name { get; init; }
    public string? GenerateName { get; init; }
    /// <summary>Null for cluster-scoped objects.</summary>
    public string? Namespace { get; init; }
    public string? Uid { get; init; }
    /// <summary>Opaque; compare for equality only.</summary>
    public string? ResourceVersion { get; init; }
    public long? Generation { get; init; }
    public DateTimeOffset? CreationTimestamp { get; init; }
    /// <summary>When the object is to be gone; not null once its deletion was asked for.</summary>
    public DateTimeOffset? DeletionTimestamp { get; init; }
    public long? DeletionGracePeriodSeconds { get; init; }
    public IReadOnlyDictionary<string, string> Labels { get; init => field = value ?? Empty.Strings; } = Empty.Strings;
    public IReadOnlyDictionary<string, string> Annotations { get; init => field = value ?? Empty.Strings; } = Empty.Strings;
    public IReadOnlyList<OwnerReference> OwnerReferences { get; init => field = value ?? []; } = [];
    public IReadOnlyList<string> Finalizers { get; init => field = value ?? []; } = [];

    /// <summary>The owner with <c>controller: true</c>, or null.</summary>
    public OwnerReference? Controller()
    {
        foreach (var owner in OwnerReferences)
            if (owner.Controller == true) return owner;
        return null;
    }
}

/// <summary>meta/v1 OwnerReference; the owner is in the same namespace or cluster-scoped.</summary>
public sealed record OwnerReference
{
    public string ApiVersion { get; init => field = value ?? ""; } = "";
    public string Kind { get; init => field = value ?? ""; } = "";
    public string Name { get; init => field = value ?? ""; } = "";
    public string Uid { get; init => field = value ?? ""; } = "";
    public bool? Controller { get; init; }
    public bool? BlockOwnerDeletion { get; init; }
}

/// <summary>core/v1 ObjectReference: which object an event or an address speaks about.</summary>
public sealed record ObjectReference
{
    public string? ApiVersion { get; init; }
    public string? Kind { get; init; }
    public string? Namespace { get; init; }
    public string? Name { get; init; }
    public string? Uid { get; init; }
    public string? ResourceVersion { get; init; }
    public string? FieldPath { get; init; }
}

/// <summary>A condition as most kinds carry it. <see cref="Status"/> is <c>True</c>, <c>False</c> or <c>Unknown</c>.</summary>
public sealed record Condition
{
    public string Type { get; init => field = value ?? ""; } = "";
    public string Status { get; init => field = value ?? ""; } = "";
    public string? Reason { get; init; }
    public string? Message { get; init; }
    public long? ObservedGeneration { get; init; }
    public DateTimeOffset? LastTransitionTime { get; init; }
}

internal static class Empty
{
    public static readonly IReadOnlyDictionary<string, string> Strings = System.Collections.Frozen.FrozenDictionary<string, string>.Empty;
}
