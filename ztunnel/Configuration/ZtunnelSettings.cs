using System.Globalization;
using AmbientMesh.Identity;
using AmbientMesh.Model;
using AmbientMesh.Telemetry;
using AmbientMesh.Telemetry.Otlp;

namespace AmbientMesh.Ztunnel.Configuration;

/// <summary>Whether the application sees the client's own address as its peer.</summary>
public enum SourcePreservation
{
    /// <summary>Where the kernel lets us.</summary>
    Auto,
    /// <summary>A pod whose sockets cannot do it is not started.</summary>
    Required,
    Off,
}

/// <summary>Everything that can be set, with its default; environment names are those of Istio's ztunnel (L4 reference §12.2).</summary>
public sealed record ZtunnelSettings
{
    public const string LogTarget = "ztunnel";

    /// <summary>Null when XDS_ADDRESS is empty: no discovery.</summary>
    public Uri? XdsAddress { get; init; } = new("https://localhost:15012");
    public Uri? CaAddress { get; init; } = new("https://localhost:15012");

    /// <summary>PEM file of the roots that vouch for the server; <c>SYSTEM</c> for the machine's.</summary>
    public string XdsRootCa { get; init; } = "./var/run/secrets/istio/root-cert.pem";
    public string CaRootCa { get; init; } = "./var/run/secrets/istio/root-cert.pem";
    public string? AltXdsHostname { get; init; }
    public string? AltCaHostname { get; init; }

    /// <summary>File of the bearer token, read again at each call; null sends none.</summary>
    public string? TokenPath { get; init; }
    /// <summary>PEM or DER file of revocation lists; it may be missing or empty, then nothing is revoked. Null for none.</summary>
    public string? CrlPath { get; init; }
    public TimeSpan SecretTtl { get; init; } = TimeSpan.FromHours(24);
    public string ClusterId { get; init; } = "Kubernetes";
    public string ClusterDomain { get; init; } = "cluster.local";
    public string TrustDomain { get; init; } = "cluster.local";
    public string Network { get; init; } = "";
    public string NodeName { get; init; } = "";
    public string InstanceIp { get; init; } = "1.1.1.1";
    public string PodName { get; init; } = "";
    public string PodNamespace { get; init; } = "";
    public string ServiceAccount { get; init; } = "";
    public string? PreferredServiceNamespace { get; init; }
    public bool IPv6Enabled { get; init; } = true;
    public SourcePreservation OriginalSource { get; init; }
    public bool KeepAliveEnabled { get; init; } = true;
    public TimeSpan KeepAliveTime { get; init; } = TimeSpan.FromSeconds(180);
    public TimeSpan KeepAliveInterval { get; init; } = TimeSpan.FromSeconds(180);
    public int KeepAliveRetries { get; init; } = 9;
    public bool UserTimeoutEnabled { get; init; }

    /// <summary>On every packet the proxy sends inside a pod; 0 for none.</summary>
    public int PacketMark { get; init; } = 1337;
    public string InPodSocket { get; init; } = "/var/run/ztunnel/ztunnel.sock";
    public bool InPodPortReuse { get; init; } = true;

    /// <summary>Where a later ztunnel of the node asks this one for its listening sockets; beside <see cref="InPodSocket"/>. Null when it cannot.</summary>
    public string? HandoverSocket
    {
        get => field ?? (InPodPortReuse && Path.GetDirectoryName(InPodSocket) is { Length: > 0 } folder ? Path.Combine(folder, "handover.sock") : null);
        init;
    }
    public int PoolMaxStreamsPerConnection { get; init; } = 100;
    public TimeSpan PoolUnusedReleaseTimeout { get; init; } = TimeSpan.FromMinutes(5);
    public int Http2StreamWindow { get; init; } = 4 * 1024 * 1024;
    public int Http2ConnectionWindow { get; init; } = 16 * 1024 * 1024;
    public int Http2FrameSize { get; init; } = 1024 * 1024;
    public bool LocalhostAppTunnel { get; init; } = true;
    public bool ResponseBaggage { get; init; } = true;

    /// <summary>How strictly peers' certificates are read (ALLOW_SEVERAL_URI_SANS, our own: as Istio, which takes the first name that is an identity and ignores the rest).</summary>
    public SvidRules SvidRules { get; init; } = SvidRules.Strict;

    /// <summary>Whether a workload that is bound to a waypoint takes connections from it alone (REQUIRE_WAYPOINT, our own; Istio has no such check).</summary>
    public bool RequireWaypoint { get; init; }
    public bool PolicyInfoLogging { get; init; }

    /// <summary>Endpoints of a service tried for one connection while none can be reached; 1 as Istio's ztunnel (AMBIENT_CONNECT_ATTEMPTS, our own).</summary>
    public int ConnectAttempts { get; init; } = 3;

    /// <summary>How long an endpoint may stay silent before another of the service is tried (AMBIENT_CONNECT_ATTEMPT_TIMEOUT, our own).</summary>
    public TimeSpan ConnectAttemptTimeout { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>A policy that was received and cannot be read has no effect, as with Istio's ztunnel, instead of denying what it may cover.</summary>
    public bool IgnoresUnreadablePolicies { get; init; }

    /// <summary>How long connections may run on after the process was told to stop.</summary>
    public TimeSpan TerminationDeadline { get; init; } = TimeSpan.FromSeconds(5);
    public LogLayout LogLayout { get; init; }
    public string LogLevels { get; init; } = "info";

    /// <summary>The one workload that is served in the process's own namespace (PROXY_MODE=dedicated); null for those the node agent names.</summary>
    public WorkloadInfo? DedicatedWorkload { get; init; }

    /// <summary>Whether addresses are asked for one by one, when a connection needs them, instead of all at once (XDS_ON_DEMAND).</summary>
    public bool XdsOnDemand { get; init; }

    /// <summary>In force before and beside what discovery brings (LOCAL_XDS).</summary>
    public StaticResources Static { get; init; } = StaticResources.None;

    /// <summary>Threads that carry bytes.</summary>
    public int WorkerThreads { get; init; } = Environment.ProcessorCount;

    /// <summary>Whether pods' lookups are answered (DNS_CAPTURE of the node's metadata).</summary>
    public bool DnsProxy { get; init; } = true;

    /// <summary>Where the DNS proxy listens inside each pod: an address, or <c>localhost</c> for the loopback of each family (DNS_PROXY_ADDR).</summary>
    public string DnsProxyHost { get; init; } = "localhost";
    public ushort DnsProxyPort { get; init; } = 15053;

    /// <summary>Whether applications may ask for connections through SOCKS5, on port 15080 of their pod's loopback (UNSTABLE_ENABLE_SOCKS5).</summary>
    public bool Socks5 { get; init; }

    /// <summary>Names the servers that lookups are forwarded to.</summary>
    public string ResolverFile { get; init; } = "/etc/resolv.conf";

    /// <summary>Export of spans and metrics (OTEL_…); off unless an endpoint is set.</summary>
    public OtlpSettings Export { get; init; } = new();
    public int AdminPort { get; init; } = 15000;
    public int StatsPort { get; init; } = 15020;
    public int ReadinessPort { get; init; } = 15021;

    /// <summary>Sent to the control plane as node metadata.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; init; } = new Dictionary<string, string>();

    /// <summary>As <see cref="Metadata"/>; the values are JSON.</summary>
    public IReadOnlyDictionary<string, string> JsonMetadata { get; init; } = new Dictionary<string, string>();
    public IReadOnlyList<KeyValuePair<string, string>> XdsHeaders { get; init; } = [];
    public IReadOnlyList<KeyValuePair<string, string>> CaHeaders { get; init; } = [];

    /// <summary>The proxy's own identity; null when its pod is not told.</summary>
    public WorkloadInfo? OwnPod => PodName.Length > 0 && PodNamespace.Length > 0 && ServiceAccount.Length > 0 ? new WorkloadInfo(PodName, PodNamespace, ServiceAccount) : null;

    /// <summary>The node id of discovery (L4 reference §4.3).</summary>
    public string NodeId => $"ztunnel~{InstanceIp}~{PodName}.{PodNamespace}~{PodNamespace}.svc.cluster.local";

    /// <summary>How long drained connections may run: an explicit deadline, else the pod's grace period less a margin, else 5 s (L4 reference §3.7).</summary>
    internal static TimeSpan DeadlineWithin(TimeSpan? explicitDeadline, int? graceSeconds) =>
        explicitDeadline ?? (graceSeconds is not { } grace ? TimeSpan.FromSeconds(5) : TimeSpan.FromSeconds(grace > 10 ? grace - 5 : Math.Max(grace - 1, 1)));

    /// <summary>Go's form of a number of seconds or a duration, for the configuration dump.</summary>
    internal static string Seconds(TimeSpan time) => time.TotalSeconds.ToString(CultureInfo.InvariantCulture) + "s";
}
