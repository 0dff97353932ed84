namespace AmbientMesh.Kubernetes;

/// <summary>core/v1 Pod, the fields a mesh reads.</summary>
public sealed record Pod : KubernetesObject, IResource<Pod>
{
    public static ResourceType Type { get; } = new("", "v1", "pods", "Pod", IsNamespaced: true);

    public PodSpec Spec { get; init => field = value ?? new(); } = new();
    public PodStatus Status { get; init => field = value ?? new(); } = new();

    /// <summary>The condition of type <paramref name="type"/> is <c>True</c>.</summary>
    public bool Is(string type)
    {
        foreach (var condition in Status.Conditions)
            if (condition.Type == type) return condition.Status == "True";
        return false;
    }
}

public sealed record PodSpec
{
    public string? NodeName { get; init; }
    public string? ServiceAccountName { get; init; }
    public bool? HostNetwork { get; init; }
    public bool? HostPID { get; init; }
    public string? Hostname { get; init; }
    public string? Subdomain { get; init; }
    public string? RestartPolicy { get; init; }
    public long? TerminationGracePeriodSeconds { get; init; }
    public IReadOnlyList<Container> InitContainers { get; init => field = value ?? []; } = [];
    public IReadOnlyList<Container> Containers { get; init => field = value ?? []; } = [];
    public IReadOnlyDictionary<string, string> NodeSelector { get; init => field = value ?? Empty.Strings; } = Empty.Strings;
}

public sealed record Container
{
    public string Name { get; init => field = value ?? ""; } = "";
    public string? Image { get; init; }
    /// <summary><c>Always</c> on a sidecar among the init containers.</summary>
    public string? RestartPolicy { get; init; }
    public IReadOnlyList<ContainerPort> Ports { get; init => field = value ?? []; } = [];
    public IReadOnlyList<EnvironmentVariable> Env { get; init => field = value ?? []; } = [];
}

public sealed record ContainerPort
{
    public string? Name { get; init; }
    [System.Text.Json.Serialization.JsonPropertyName("containerPort")] public int Port { get; init; }
    /// <summary><c>TCP</c> when null.</summary>
    public string? Protocol { get; init; }
}

/// <summary>An environment variable; values taken from elsewhere are not held.</summary>
public sealed record EnvironmentVariable
{
    public string Name { get; init => field = value ?? ""; } = "";
    public string? Value { get; init; }
}

public sealed record PodStatus
{
    /// <summary><c>Pending</c>, <c>Running</c>, <c>Succeeded</c>, <c>Failed</c> or <c>Unknown</c>.</summary>
    public string? Phase { get; init; }
    public string? Reason { get; init; }
    public string? Message { get; init; }
    public string? PodIP { get; init; }
    public IReadOnlyList<PodAddress> PodIPs { get; init => field = value ?? []; } = [];
    public string? HostIP { get; init; }
    public IReadOnlyList<PodAddress> HostIPs { get; init => field = value ?? []; } = [];
    public DateTimeOffset? StartTime { get; init; }
    public IReadOnlyList<Condition> Conditions { get; init => field = value ?? []; } = [];
    public IReadOnlyList<ContainerStatus> InitContainerStatuses { get; init => field = value ?? []; } = [];
    public IReadOnlyList<ContainerStatus> ContainerStatuses { get; init => field = value ?? []; } = [];
}

/// <summary>One of a pod's or host's addresses, as text.</summary>
public sealed record PodAddress
{
    public string Ip { get; init => field = value ?? ""; } = "";
}

public sealed record ContainerStatus
{
    public string Name { get; init => field = value ?? ""; } = "";
    public bool Ready { get; init; }
    public int RestartCount { get; init; }
    /// <summary>E.g. <c>containerd://…</c>.</summary>
    public string? ContainerID { get; init; }
    public ContainerState? State { get; init; }
    public ContainerState? LastState { get; init; }
}

/// <summary>At most one case is set.</summary>
public sealed record ContainerState
{
    public ContainerWaiting? Waiting { get; init; }
    public ContainerRunning? Running { get; init; }
    public ContainerTerminated? Terminated { get; init; }
}

public sealed record ContainerWaiting
{
    public string? Reason { get; init; }
    public string? Message { get; init; }
}

public sealed record ContainerRunning
{
    public DateTimeOffset? StartedAt { get; init; }
}

public sealed record ContainerTerminated
{
    public int ExitCode { get; init; }
    public string? Reason { get; init; }
    public string? Message { get; init; }
    public DateTimeOffset? FinishedAt { get; init; }
}
