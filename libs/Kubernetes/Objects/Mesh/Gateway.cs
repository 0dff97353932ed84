namespace AmbientMesh.Kubernetes;

/// <summary>gateway.networking.k8s.io/v1 Gateway, the fields the mesh reads.</summary>
public sealed record Gateway : KubernetesObject, IResource<Gateway>
{
    public static ResourceType Type { get; } = new("gateway.networking.k8s.io", "v1", "gateways", "Gateway", IsNamespaced: true);

    public GatewaySpec Spec { get; init => field = value ?? new(); } = new();
    public GatewayStatus Status { get; init => field = value ?? new(); } = new();
}

public sealed record GatewaySpec
{
    public string GatewayClassName { get; init => field = value ?? ""; } = "";
    public IReadOnlyList<GatewayListener> Listeners { get; init => field = value ?? []; } = [];
}

public sealed record GatewayListener
{
    public string Name { get; init => field = value ?? ""; } = "";
    public int Port { get; init; }
    /// <summary><c>HTTP</c>, <c>HBONE</c>, <c>istio.io/PROXY</c>, …</summary>
    public string Protocol { get; init => field = value ?? ""; } = "";
    public AllowedRoutes? AllowedRoutes { get; init; }
}

public sealed record AllowedRoutes
{
    public RouteNamespaces? Namespaces { get; init; }
}

public sealed record RouteNamespaces
{
    /// <summary><c>All</c>, <c>Same</c> (also when null) or <c>Selector</c>.</summary>
    public string? From { get; init; }
    public LabelSelector? Selector { get; init; }
}

public sealed record GatewayStatus
{
    public IReadOnlyList<GatewayStatusAddress> Addresses { get; init => field = value ?? []; } = [];
}

public sealed record GatewayStatusAddress
{
    /// <summary><c>IPAddress</c> (also when null) or <c>Hostname</c>.</summary>
    public string? Type { get; init; }
    public string Value { get; init => field = value ?? ""; } = "";
}

/// <summary>gateway.networking.k8s.io/v1 GatewayClass, the fields the mesh reads.</summary>
public sealed record GatewayClass : KubernetesObject, IResource<GatewayClass>
{
    public static ResourceType Type { get; } = new("gateway.networking.k8s.io", "v1", "gatewayclasses", "GatewayClass", IsNamespaced: false);

    public GatewayClassSpec Spec { get; init => field = value ?? new(); } = new();
}

public sealed record GatewayClassSpec
{
    public string ControllerName { get; init => field = value ?? ""; } = "";
}
