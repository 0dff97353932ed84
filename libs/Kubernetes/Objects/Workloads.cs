namespace AmbientMesh.Kubernetes;

/// <summary>apps/v1 Deployment, the fields a mesh reads; write one as a <c>JsonObject</c>.</summary>
public sealed record Deployment : KubernetesObject, IResource<Deployment>
{
    public static ResourceType Type { get; } = new("apps", "v1", "deployments", "Deployment", IsNamespaced: true);

    public ReplicatedSpec Spec { get; init => field = value ?? new(); } = new();
    public DeploymentStatus Status { get; init => field = value ?? new(); } = new();
}

/// <summary>apps/v1 ReplicaSet, the fields a mesh reads.</summary>
public sealed record ReplicaSet : KubernetesObject, IResource<ReplicaSet>
{
    public static ResourceType Type { get; } = new("apps", "v1", "replicasets", "ReplicaSet", IsNamespaced: true);

    public ReplicatedSpec Spec { get; init => field = value ?? new(); } = new();
    public DeploymentStatus Status { get; init => field = value ?? new(); } = new();
}

/// <summary>apps/v1 DaemonSet, the fields a mesh reads.</summary>
public sealed record DaemonSet : KubernetesObject, IResource<DaemonSet>
{
    public static ResourceType Type { get; } = new("apps", "v1", "daemonsets", "DaemonSet", IsNamespaced: true);

    public ReplicatedSpec Spec { get; init => field = value ?? new(); } = new();
    public DaemonSetStatus Status { get; init => field = value ?? new(); } = new();
}

public sealed record ReplicatedSpec
{
    /// <summary>Null for DaemonSets; 1 when left out elsewhere.</summary>
    public int? Replicas { get; init; }
    public LabelSelector Selector { get; init => field = value ?? new(); } = new();
    public PodTemplate Template { get; init => field = value ?? new(); } = new();
}

public sealed record LabelSelector
{
    public IReadOnlyDictionary<string, string> MatchLabels { get; init => field = value ?? Empty.Strings; } = Empty.Strings;
    public IReadOnlyList<LabelRequirement> MatchExpressions { get; init => field = value ?? []; } = [];
}

/// <summary><see cref="Operator"/> is <c>In</c>, <c>NotIn</c>, <c>Exists</c> or <c>DoesNotExist</c>.</summary>
public sealed record LabelRequirement
{
    public string Key { get; init => field = value ?? ""; } = "";
    public string Operator { get; init => field = value ?? ""; } = "";
    public IReadOnlyList<string> Values { get; init => field = value ?? []; } = [];
}

public sealed record PodTemplate
{
    public ObjectMeta Metadata { get; init => field = value ?? new(); } = new();
    public PodSpec Spec { get; init => field = value ?? new(); } = new();
}

/// <summary>Status of Deployments and ReplicaSets; a null count is zero.</summary>
public sealed record DeploymentStatus
{
    public long? ObservedGeneration { get; init; }
    public int? Replicas { get; init; }
    public int? UpdatedReplicas { get; init; }
    public int? ReadyReplicas { get; init; }
    public int? AvailableReplicas { get; init; }
    public IReadOnlyList<Condition> Conditions { get; init => field = value ?? []; } = [];
}

public sealed record DaemonSetStatus
{
    public long? ObservedGeneration { get; init; }
    public int? DesiredNumberScheduled { get; init; }
    public int? CurrentNumberScheduled { get; init; }
    public int? UpdatedNumberScheduled { get; init; }
    public int? NumberReady { get; init; }
    public int? NumberAvailable { get; init; }
}
