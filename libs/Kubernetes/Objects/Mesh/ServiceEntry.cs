namespace AmbientMesh.Kubernetes;

/// <summary>networking.istio.io/v1 ServiceEntry: hosts the mesh is to know, which no Kubernetes Service stands for.</summary>
[CustomKind("serviceentry", "se", OtherVersions = ["v1beta1", "v1alpha3"], IsSpecRequired = true)]
[PrinterColumn("Hosts", ".spec.hosts", "Names the entry stands for.")]
[PrinterColumn("Location", ".spec.location", "Whether it is of the mesh or outside.")]
[PrinterColumn("Resolution", ".spec.resolution", "How its endpoints are found.")]
public sealed record ServiceEntry : KubernetesObject, IResource<ServiceEntry>
{
    public static ResourceType Type { get; } = new("networking.istio.io", "v1", "serviceentries", "ServiceEntry", IsNamespaced: true);

    public ServiceEntrySpec Spec { get; init => field = value ?? new(); } = new();
    public ServiceEntryStatus Status { get; init => field = value ?? new(); } = new();
}

/// <summary>Hosts the mesh is to know, and where they are reached.</summary>
[Rule("(has(self.workloadSelector) ? 1 : 0) + (has(self.endpoints) ? 1 : 0) <= 1", "only one of workloadSelector and endpoints can be given; remove one")]
[Rule("!((has(self.addresses) ? self.addresses : []).exists(k, k.contains('/')) && !((has(self.resolution) ? self.resolution : 'NONE') in ['STATIC', 'NONE']))",
    "addresses: a CIDR range is for resolution NONE or STATIC only; give single addresses or change resolution")]
[Rule("((has(self.resolution) ? self.resolution : 'NONE') == 'NONE') ? !has(self.endpoints) : true", "endpoints cannot be given with resolution NONE, which sends connections where the client dialled; use STATIC or DNS")]
[Rule("((has(self.resolution) ? self.resolution : '') == 'DNS_ROUND_ROBIN') ? ((has(self.endpoints) ? self.endpoints : []).size() <= 1) : true", "endpoints: resolution DNS_ROUND_ROBIN takes one endpoint at most; use DNS for several")]
[Rule("(has(self.resolution) && self.resolution == 'STATIC') ? has(self.endpoints) || has(self.workloadSelector) : true", "resolution STATIC needs endpoints or a workloadSelector; give one, or use DNS to resolve the hosts")]
[Rule("(has(self.resolution) && self.resolution == 'STATIC' && has(self.endpoints)) ? self.endpoints.all(e, !has(e.address) || isIP(e.address) || e.address.startsWith('unix://')) : true",
    "endpoints.address must be an IP address with resolution STATIC; use DNS for names")]
[Rule("((has(self.resolution) ? self.resolution : 'NONE') in ['DNS', 'DNS_ROUND_ROBIN']) && !has(self.endpoints) && !has(self.workloadSelector) ? self.hosts.all(h, !h.startsWith('*')) : true",
    "hosts: a wildcard cannot be resolved by DNS without endpoints; list endpoints, or use DYNAMIC_DNS or NONE")]
public sealed record ServiceEntrySpec
{
    /// <summary>Names the entry stands for; a name may begin with "*.".</summary>
    [Schema(Required = true, MinItems = 1, MaxItems = 256, ItemMaxLength = 253)]
    [Rule("self != '*'", "hosts: '*' alone is not allowed; name a domain, as in *.example.com", OnItems = true)]
    [Rule("self.matches('^([*][.])?[a-zA-Z0-9_]([-a-zA-Z0-9_]*[a-zA-Z0-9_])?([.][a-zA-Z0-9_]([-a-zA-Z0-9_]*[a-zA-Z0-9_])?)*$')",
        "hosts: must be a DNS name, and a '*' may only stand for the first label, as in *.example.com", OnItems = true)]
    [Rule("self.all(a, self.exists_one(b, a == b))", "hosts: a host is listed twice; remove one")]
    public IReadOnlyList<string> Hosts { get; init => field = value ?? []; } = [];

    /// <summary>Addresses clients reach it by: IP addresses or CIDR ranges. Without any, addresses are assigned and stand in the status.</summary>
    [Schema(MaxItems = 256, ItemMaxLength = 64)]
    [Rule("isIP(self) || isCIDR(self)", "addresses: must be an IP address or a CIDR range, as in 192.0.2.1 or 192.0.2.0/24", OnItems = true)]
    public IReadOnlyList<string> Addresses { get; init => field = value ?? []; } = [];

    /// <summary>Ports clients reach it on.</summary>
    [Schema(MaxItems = 256, ListMapKey = "name")]
    [Rule("self.all(l1, self.exists_one(l2, l1.number == l2.number))", "ports: a number is listed twice; remove one")]
    public IReadOnlyList<ServiceEntryPort> Ports { get; init => field = value ?? []; } = [];

    /// <summary>Whether it is of the mesh or outside. Told to people only.</summary>
    [Schema(Enum = ["MESH_EXTERNAL", "MESH_INTERNAL"])] public string? Location { get; init; }

    /// <summary>How endpoints are found. NONE (the default) sends connections where the client dialled; STATIC takes addresses of endpoints; DNS resolves names of endpoints, or the hosts themselves; DYNAMIC_DNS is for wildcards behind a waypoint.</summary>
    [Schema(Enum = ["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"])] public string? Resolution { get; init; }

    /// <summary>Where it is reached.</summary>
    [Schema(MaxItems = 4096)] public IReadOnlyList<WorkloadEntrySpec>? Endpoints { get; init; }

    /// <summary>Pods and WorkloadEntries of this namespace where it is reached.</summary>
    public EntrySelector? WorkloadSelector { get; init; }

    /// <summary>Not used in ambient mode; see serviceEntryVisibility of the mesh configuration.</summary>
    public IReadOnlyList<string> ExportTo { get; init => field = value ?? []; } = [];

    /// <summary>Identities its endpoints may have.</summary>
    public IReadOnlyList<string> SubjectAltNames { get; init => field = value ?? []; } = [];
}

/// <summary>A port of a ServiceEntry.</summary>
public sealed record ServiceEntryPort
{
    /// <summary>The port clients dial.</summary>
    [Schema(Required = true)]
    [Rule("0 < self && self <= 65535", "ports.number: must be 1 to 65535")]
    public uint Number { get; init; }

    /// <summary>Unique within the entry; endpoints and container ports are matched by it.</summary>
    [Schema(Required = true, MaxLength = 256)] public string Name { get; init => field = value ?? ""; } = "";

    /// <summary>HTTP, HTTPS, GRPC, HTTP2, MONGO, TCP or TLS; not known when not given.</summary>
    [Schema(MaxLength = 256)] public string? Protocol { get; init; }

    /// <summary>The port at the endpoints; the number when not given.</summary>
    [Rule("0 < self && self <= 65535", "ports.targetPort: must be 1 to 65535")]
    public uint? TargetPort { get; init; }
}

/// <summary>Labels of pods and WorkloadEntries.</summary>
public sealed record EntrySelector
{
    /// <summary>Labels all of which a workload must carry.</summary>
    [Schema(MaxProperties = 256, ItemMaxLength = 63)]
    [Rule("!self.contains('*')", "workloadSelector.labels: labels are compared exactly, a '*' is no wildcard in them", OnItems = true)]
    public IReadOnlyDictionary<string, string> Labels { get; init => field = value ?? Empty.Strings; } = Empty.Strings;
}

/// <summary>What the mesh says about a ServiceEntry.</summary>
public sealed record ServiceEntryStatus : MeshStatus
{
    /// <summary>Addresses assigned to hosts that have none of their own.</summary>
    public IReadOnlyList<AssignedAddress> Addresses { get; init => field = value ?? []; } = [];
}

/// <summary>An address assigned to a host.</summary>
public sealed record AssignedAddress
{
    /// <summary>The address.</summary>
    public string Value { get; init => field = value ?? ""; } = "";
    /// <summary>The host.</summary>
    public string? Host { get; init; }
}
