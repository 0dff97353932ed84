using System.Text.Json.Serialization;

namespace AmbientMesh.Cli.ZtunnelConfig;

/// <summary>A ztunnel's <c>/config_dump</c> as far as it is shown (L4 reference §11.4); of ours and of the Rust one. What is absent is empty.</summary>
internal sealed record ZtunnelDump
{
    public IReadOnlyList<DumpWorkload> Workloads { get; init => field = value ?? []; } = [];
    public IReadOnlyList<DumpService> Services { get; init => field = value ?? []; } = [];
    public IReadOnlyList<DumpPolicy> Policies { get; init => field = value ?? []; } = [];
    public IReadOnlyList<DumpIdentity> Certificates { get; init => field = value ?? []; } = [];
    public IReadOnlyDictionary<string, DumpPod> WorkloadState { get; init => field = value ?? new Dictionary<string, DumpPod>(); } = new Dictionary<string, DumpPod>();
}

internal sealed record DumpGateway
{
    /// <summary><c>network/ip</c> or <c>namespace/hostname</c>.</summary>
    public string Destination { get; init => field = value ?? ""; } = "";
}

internal sealed record DumpWorkload
{
    public string Uid { get; init => field = value ?? ""; } = "";
    public string Name { get; init => field = value ?? ""; } = "";
    public string Namespace { get; init => field = value ?? ""; } = "";
    public string Node { get; init => field = value ?? ""; } = "";
    public string Hostname { get; init => field = value ?? ""; } = "";
    public string Network { get; init => field = value ?? ""; } = "";
    public string Protocol { get; init => field = value ?? ""; } = "";
    public IReadOnlyList<string> WorkloadIps { get; init => field = value ?? []; } = [];
    public DumpGateway? Waypoint { get; init; }
}

internal sealed record DumpService
{
    public string Name { get; init => field = value ?? ""; } = "";
    public string Namespace { get; init => field = value ?? ""; } = "";
    public string Hostname { get; init => field = value ?? ""; } = "";
    /// <summary><c>network/ip</c>.</summary>
    public IReadOnlyList<string> Vips { get; init => field = value ?? []; } = [];
    public IReadOnlyList<string> CidrVips { get; init => field = value ?? []; } = [];
    public DumpGateway? Waypoint { get; init; }
    public IReadOnlyDictionary<string, DumpEndpoint> Endpoints { get; init => field = value ?? new Dictionary<string, DumpEndpoint>(); } = new Dictionary<string, DumpEndpoint>();
}

internal sealed record DumpEndpoint
{
    /// <summary><c>Healthy</c> or <c>Unhealthy</c>.</summary>
    public string Status { get; init => field = value ?? ""; } = "";
}

internal sealed record DumpPolicy
{
    public string Name { get; init => field = value ?? ""; } = "";
    public string Namespace { get; init => field = value ?? ""; } = "";
    public string Action { get; init => field = value ?? ""; } = "";
    public string Scope { get; init => field = value ?? ""; } = "";
}

/// <summary>One identity and its certificates; the chain's first is the leaf.</summary>
internal sealed record DumpIdentity
{
    public string Identity { get; init => field = value ?? ""; } = "";
    public string State { get; init => field = value ?? ""; } = "";
    public IReadOnlyList<DumpCertificate> CertChain { get; init => field = value ?? []; } = [];
    public IReadOnlyList<DumpCertificate> RootCerts { get; init => field = value ?? []; } = [];
}

internal sealed record DumpCertificate
{
    /// <summary>Decimal.</summary>
    public string SerialNumber { get; init => field = value ?? ""; } = "";
    public DateTimeOffset? ValidFrom { get; init; }
    public DateTimeOffset? ExpirationTime { get; init; }
}

/// <summary>A pod this ztunnel serves.</summary>
internal sealed record DumpPod
{
    public string State { get; init => field = value ?? ""; } = "";
    public DumpPodInfo Info { get; init => field = value ?? new(); } = new();
    public DumpConnections Connections { get; init => field = value ?? new(); } = new();
}

internal sealed record DumpPodInfo
{
    public string Name { get; init => field = value ?? ""; } = "";
    public string Namespace { get; init => field = value ?? ""; } = "";
}

internal sealed record DumpConnections
{
    public IReadOnlyList<DumpConnection> Inbound { get; init => field = value ?? []; } = [];
    public IReadOnlyList<DumpConnection> Outbound { get; init => field = value ?? []; } = [];
}

internal sealed record DumpConnection
{
    public string Src { get; init => field = value ?? ""; } = "";
    public string OriginalDst { get; init => field = value ?? ""; } = "";
    public string ActualDst { get; init => field = value ?? ""; } = "";
    public string Protocol { get; init => field = value ?? ""; } = "";
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, GenerationMode = JsonSourceGenerationMode.Metadata)]
[JsonSerializable(typeof(ZtunnelDump))]
internal sealed partial class ZtunnelDumpJson : JsonSerializerContext;
