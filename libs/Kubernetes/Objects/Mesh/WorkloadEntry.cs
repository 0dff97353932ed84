namespace AmbientMesh.Kubernetes;

/// <summary>networking.istio.io/v1 WorkloadEntry: a workload that is no pod, such as a virtual machine.</summary>
[CustomKind("workloadentry", "we", OtherVersions = ["v1beta1", "v1alpha3"], IsSpecRequired = true)]
[PrinterColumn("Address", ".spec.address", "Where it is reached.", IsLast = true)]
public sealed record WorkloadEntry : KubernetesObject, IResource<WorkloadEntry>
{
    public static ResourceType Type { get; } = new("networking.istio.io", "v1", "workloadentries", "WorkloadEntry", IsNamespaced: true);

    public WorkloadEntrySpec Spec { get; init => field = value ?? new(); } = new();
    public MeshStatus Status { get; init => field = value ?? new(); } = new();
}

/// <summary>A workload that is no pod: where it is and which identity it has.</summary>
[Rule("has(self.address) || has(self.network)", "address is missing: give an IP address or a DNS name")]
[Rule("(has(self.address) ? self.address : '').startsWith('unix://') ? !has(self.ports) : true", "ports cannot be given with a unix:// address; remove them")]
public sealed record WorkloadEntrySpec
{
    /// <summary>An IP address, or a DNS name that is resolved when somebody connects.</summary>
    [Schema(MaxLength = 256)]
    [Rule("self.startsWith('unix://') ? (self.substring(7, 8) == '/' || self.substring(7, 8) == '@') : true", "address: a unix:// address must be an absolute path or an abstract socket")]
    [Rule("self.startsWith('unix://') ? !self.endsWith('/') : true", "address: a unix:// address cannot be a folder")]
    [Rule("self.startsWith('unix://') || isIP(self) || self.matches('^[a-zA-Z0-9_]([-a-zA-Z0-9_]*[a-zA-Z0-9_])?([.][a-zA-Z0-9_]([-a-zA-Z0-9_]*[a-zA-Z0-9_])?)*[.]?$')", "address: must be an IP address or a DNS name, without a port")]
    [Rule("self.matches('^[0-9.]+$') ? isIP(self) : true", "address: looks like an IPv4 address but is none; write four numbers from 0 to 255")]
    public string? Address { get; init; }

    /// <summary>Ports of this workload by the names of the services' ports.</summary>
    [Schema(MaxProperties = 128)]
    [Rule("self.all(key, size(key) < 63 && key.matches('^[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?$'))", "ports: a name must be letters, digits and dashes, at most 62")]
    [Rule("0 < self && self <= 65535", "ports: must be 1 to 65535", OnItems = true)]
    public IReadOnlyDictionary<string, uint>? Ports { get; init; }

    /// <summary>Labels that services and policies select by; those of the metadata come first.</summary>
    [Schema(MaxProperties = 256)] public IReadOnlyDictionary<string, string> Labels { get; init => field = value ?? Empty.Strings; } = Empty.Strings;

    /// <summary>The network it is in; the cluster's own when not given.</summary>
    [Schema(MaxLength = 2048)] public string? Network { get; init; }

    /// <summary>Where it is, as region/zone/subzone.</summary>
    [Schema(MaxLength = 2048)] public string? Locality { get; init; }

    /// <summary>Its share of connections; 1 when not given.</summary>
    public uint? Weight { get; init; }

    /// <summary>The account its identity is made of.</summary>
    [Schema(MaxLength = 253)] public string? ServiceAccount { get; init; }
}
