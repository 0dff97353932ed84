namespace AmbientMesh.Kubernetes;

/// <summary>security.istio.io/v1 PeerAuthentication: whether callers must prove an identity. Its definition; the control plane reads it as JSON, so that one it cannot understand is reported on.</summary>
[CustomKind("peerauthentication", "pa", OtherVersions = ["v1beta1"])]
[PrinterColumn("Mode", ".spec.mtls.mode", "Whether callers must prove an identity.")]
[PrinterColumn("Enforced", ".status.conditions[?(@.type==\"ZtunnelAccepted\")].status", "Whether ztunnels enforce it.")]
public sealed record PeerAuthentication : KubernetesObject, IResource<PeerAuthentication>
{
    public static ResourceType Type { get; } = new("security.istio.io", "v1", "peerauthentications", "PeerAuthentication", IsNamespaced: true);

    public PeerAuthenticationSpec Spec { get; init => field = value ?? new(); } = new();
    public MeshStatus Status { get; init => field = value ?? new(); } = new();
}

/// <summary>Whether callers of workloads must prove an identity by mutual TLS. STRICT refuses plaintext, PERMISSIVE and DISABLE take it.</summary>
[Rule("!has(self.portLevelMtls) || (has(self.selector) && has(self.selector.matchLabels) && self.selector.matchLabels.size() > 0)", "portLevelMtls needs a selector with labels; add one, or set mtls for the whole namespace")]
public sealed record PeerAuthenticationSpec
{
    /// <summary>Labels of the workloads meant; without any, all in the namespace, or in the mesh when this is in its root namespace.</summary>
    public PolicySelector? Selector { get; init; }

    /// <summary>For every port that portLevelMtls does not name.</summary>
    public MutualTls? Mtls { get; init; }

    /// <summary>Modes of single ports of the workload, by number.</summary>
    [Schema(MinProperties = 1)]
    [Rule("self.all(key, 0 < int(key) && int(key) <= 65535)", "portLevelMtls: a port must be a number from 1 to 65535")]
    public IReadOnlyDictionary<string, MutualTls>? PortLevelMtls { get; init; }
}

/// <summary>Whether callers must prove an identity.</summary>
public sealed record MutualTls
{
    /// <summary>UNSET, as when not given, takes what the namespace says, or else the mesh.</summary>
    [Schema(Enum = ["UNSET", "DISABLE", "PERMISSIVE", "STRICT"])] public string? Mode { get; init; }
}
