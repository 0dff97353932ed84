using System.Net;
using System.Net.Sockets;
using AmbientMesh.ControlPlane.Certificates;
using AmbientMesh.Identity;
using AmbientMesh.Telemetry.Otlp;

namespace AmbientMesh.ControlPlane.Settings;

/// <summary>How the control plane runs. Read once at start from istiod's environment variables and flags, see <see cref="SettingsReader"/>.</summary>
public sealed record ControlPlaneSettings
{
    /// <summary>CLUSTER_ID: first part of every workload's uid.</summary>
    public string ClusterId { get; init; } = "Kubernetes";
    /// <summary>POD_NAMESPACE: the system namespace, where the control plane itself lives.</summary>
    public string SystemNamespace { get; init; } = "istio-system";
    /// <summary>POD_NAME: who this replica is.</summary>
    public string PodName { get; init; } = Environment.MachineName;
    /// <summary>REVISION: a name other than <c>default</c> adds one to the server certificate.</summary>
    public string Revision { get; init; } = "default";
    /// <summary>TRUST_DOMAIN: wins over the mesh configuration; null leaves it to that.</summary>
    public string? TrustDomain { get; init; }
    /// <summary>DOMAIN_SUFFIX or <c>--domain</c>: of service hostnames.</summary>
    public string DomainSuffix { get; init; } = "cluster.local";
    /// <summary><c>--kubeconfig</c>; null takes KUBECONFIG, the pod's own account, or <c>~/.kube/config</c>.</summary>
    public string? Kubeconfig { get; init; }

    /// <summary><c>--httpAddr</c>: readiness and debug.</summary>
    public ListenAddress Http { get; init; } = new("*", 8080);
    /// <summary><c>--grpcAddr</c>: discovery in plaintext; null when not served.</summary>
    public ListenAddress? PlaintextGrpc { get; init; } = new("*", 15010);
    /// <summary><c>--secureGRPCAddr</c>: discovery and CA over TLS.</summary>
    public ListenAddress SecureGrpc { get; init; } = new("*", 15012);
    /// <summary><c>--monitoringAddr</c>: metrics and debug.</summary>
    public ListenAddress Monitoring { get; init; } = new("*", 15014);

    /// <summary>TOKEN_AUDIENCES: what a caller's token must be meant for.</summary>
    public IReadOnlyList<string> TokenAudiences { get; init; } = ["istio-ca"];
    /// <summary>XDS_AUTH: callers of the secure port must authenticate.</summary>
    public bool AuthenticateDiscovery { get; init; } = true;
    /// <summary>XDS_AUTH_PLAINTEXT: callers of the plaintext port must authenticate as well. Off as in istiod: that port knows no identity.</summary>
    public bool AuthenticatePlaintextDiscovery { get; init; }
    /// <summary>PILOT_ENABLE_XDS_IDENTITY_CHECK: an authenticated caller may only ask as a node of its own namespace and account.</summary>
    public bool CheckDiscoveryIdentity { get; init; } = true;
    /// <summary>PILOT_ENABLE_AMBIENT: serve nodes of type ztunnel. On, since nothing else is served.</summary>
    public bool ServesAmbient { get; init; } = true;

    /// <summary>AMBIENT_ENABLE_DRY_RUN_AUTHORIZATION_POLICY: send policies annotated as dry run, for ztunnel to judge and log.</summary>
    public bool SendsDryRunPolicies { get; init; }

    /// <summary>AMBIENT_IGNORE_UNJUDGED_DENY: a DENY rule with nothing in it that ztunnel can judge never fires, as in Istio; otherwise it denies every connection.</summary>
    public bool IgnoresUnjudgedDenials { get; init; }

    /// <summary>PILOT_AUTO_ALLOW_WAYPOINT_POLICY: give workloads behind a waypoint a policy that allows the waypoint's identity; whoever else may come then needs an ALLOW policy of its own.</summary>
    public bool AllowsFromWaypoints { get; init; }

    /// <summary>AMBIENT_ENABLE_STATUS: say on objects what became of them.</summary>
    public bool WritesStatus { get; init; } = true;
    /// <summary>PILOT_ENABLE_NODE_UNTAINT_CONTROLLERS: take the taint <c>cni.istio.io/not-ready</c> off nodes whose CNI agent is ready.</summary>
    public bool UntaintsNodes { get; init; }
    /// <summary>PILOT_ENABLE_IP_AUTOALLOCATE: give addresses to hosts of ServiceEntries that have none.</summary>
    public bool AllocatesAddresses { get; init; } = true;
    /// <summary>PILOT_IP_AUTOALLOCATE_IPV4_PREFIX: where such addresses are taken from.</summary>
    public IPNetwork AllocatedIpv4 { get; init; } = IPNetwork.Parse("240.240.0.0/16");
    /// <summary>PILOT_IP_AUTOALLOCATE_IPV6_PREFIX: the same for IPv6.</summary>
    public IPNetwork AllocatedIpv6 { get; init; } = IPNetwork.Parse("2001:2::/48");

    /// <summary>PILOT_DEBOUNCE_AFTER: quiet time before a change is pushed.</summary>
    public TimeSpan DebounceQuiet { get; init; } = TimeSpan.FromMilliseconds(100);
    /// <summary>PILOT_DEBOUNCE_MAX: the longest a change waits while others keep coming; not shorter than <see cref="DebounceQuiet"/>.</summary>
    public TimeSpan DebounceMax { get; init; } = TimeSpan.FromSeconds(10);
    /// <summary>PILOT_MAX_REQUESTS_PER_SECOND: new discovery streams per second, over all clients.</summary>
    public double MaxStreamsPerSecond { get; init; } = Math.Min(15 + (5 * Environment.ProcessorCount), 100);
    /// <summary><c>--keepaliveMaxServerConnectionAge</c>: a stream is ended after this long, so that clients spread over replicas; null never.</summary>
    public TimeSpan? MaxStreamAge { get; init; }
    /// <summary>ISTIO_GPRC_MAXRECVMSGSIZE: bytes of one received message.</summary>
    public int MaxReceiveBytes { get; init; } = 4 * 1024 * 1024;

    /// <summary>CA_TRUSTED_NODE_ACCOUNTS: <c>namespace/account</c> of those who may ask for certificates of the pods on their node.</summary>
    public IReadOnlyList<string> TrustedNodeAccounts { get; init; } = [];
    /// <summary>DEFAULT_WORKLOAD_CERT_TTL.</summary>
    public TimeSpan DefaultCertificateLifetime { get; init; } = TimeSpan.FromHours(24);
    /// <summary>MAX_WORKLOAD_CERT_TTL.</summary>
    public TimeSpan MaxCertificateLifetime { get; init; } = TimeSpan.FromDays(90);
    /// <summary>ROOT_CA_DIR: where a plugged-in CA is mounted.</summary>
    public string PluggedCaFolder { get; init; } = "/etc/cacerts";
    /// <summary>PILOT_ENABLE_CA_CRL: publish the plugged-in CA's revocation lists in every namespace.</summary>
    public bool DistributesRevocations { get; init; } = true;
    /// <summary>ISTIOD_CUSTOM_HOST: further names in the server certificate.</summary>
    public IReadOnlyList<string> CustomHosts { get; init; } = [];
    /// <summary>CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE: bits.</summary>
    public int SelfSignedKeyBits { get; init; } = 2048;
    /// <summary>CITADEL_SELF_SIGNED_CA_CERT_TTL: life of a self-signed root.</summary>
    public TimeSpan SelfSignedLifetime { get; init; } = CertificateAuthority.SelfSignedLifetime;
    /// <summary>CITADEL_SELF_SIGNED_ROOT_CERT_…: when a self-signed root is exchanged.</summary>
    public RootRotationOptions RootRotation { get; init; } = new();

    /// <summary>COVERAGE_INTERVAL: how often every node is asked what it protects; 0 never.</summary>
    public TimeSpan CoverageInterval { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Export of metrics (OTEL_…); off unless an endpoint is set.</summary>
    public OtlpSettings Export { get; init; } = new();

    /// <summary>LOG_FORMAT <c>json</c>.</summary>
    public bool LogsAsJson { get; init; }
    /// <summary>LOG_LEVEL, or <c>--log_output_level</c> as in <c>default:info</c>: error, warn, info, debug or trace.</summary>
    public string LogLevel { get; init; } = "info";

    /// <summary>Every problem between settings, each naming them; empty when usable.</summary>
    public IEnumerable<string> Problems()
    {
        if (DebounceMax < DebounceQuiet) yield return $"PILOT_DEBOUNCE_MAX ({DebounceMax}) must not be shorter than PILOT_DEBOUNCE_AFTER ({DebounceQuiet}).";
        if (MaxStreamsPerSecond <= 0) yield return $"PILOT_MAX_REQUESTS_PER_SECOND is {MaxStreamsPerSecond}; expected a number above 0.";
        if (MaxStreamAge < TimeSpan.FromSeconds(1)) yield return $"--keepaliveMaxServerConnectionAge is {MaxStreamAge}; expected at least 1s.";
        if (MaxReceiveBytes < 1024) yield return $"ISTIO_GPRC_MAXRECVMSGSIZE is {MaxReceiveBytes}; expected at least 1024 bytes.";
        if (DefaultCertificateLifetime <= TimeSpan.Zero || DefaultCertificateLifetime > MaxCertificateLifetime)
            yield return $"DEFAULT_WORKLOAD_CERT_TTL ({DefaultCertificateLifetime}) must be above 0 and not exceed MAX_WORKLOAD_CERT_TTL ({MaxCertificateLifetime}).";
        if (AllocatedIpv4.BaseAddress.AddressFamily != AddressFamily.InterNetwork || AllocatedIpv4.PrefixLength > 30) yield return $"PILOT_IP_AUTOALLOCATE_IPV4_PREFIX is {AllocatedIpv4}; expected an IPv4 range of at least four addresses.";
        if (AllocatedIpv6.BaseAddress.AddressFamily != AddressFamily.InterNetworkV6 || AllocatedIpv6.PrefixLength > 126) yield return $"PILOT_IP_AUTOALLOCATE_IPV6_PREFIX is {AllocatedIpv6}; expected an IPv6 range of at least four addresses.";
        if (CoverageInterval != TimeSpan.Zero && CoverageInterval < TimeSpan.FromSeconds(1)) yield return $"COVERAGE_INTERVAL is {CoverageInterval}; expected 0 for never, or at least 1s.";
        if (SelfSignedKeyBits is < 2048 or > 8192) yield return $"CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE is {SelfSignedKeyBits}; expected 2048 to 8192 bits.";
        if (SelfSignedLifetime < TimeSpan.FromHours(1)) yield return $"CITADEL_SELF_SIGNED_CA_CERT_TTL is {SelfSignedLifetime}; expected at least 1h.";
        if (RootRotation.GracePercent is < 1 or > 90) yield return $"CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE is {RootRotation.GracePercent}; expected 1 to 90 percent.";
        if (TokenAudiences.Count == 0) yield return "TOKEN_AUDIENCES is empty; without an audience any token of the cluster would be accepted.";
        foreach (var account in TrustedNodeAccounts)
            if (account.Split('/') is not [{ Length: > 0 }, { Length: > 0 }]) yield return $"CA_TRUSTED_NODE_ACCOUNTS has '{account}'; expected <namespace>/<service account>.";
        var ports = new[] { Http, PlaintextGrpc, SecureGrpc, Monitoring }.OfType<ListenAddress>().Where(a => a.Port != 0).ToList();
        foreach (var shared in ports.GroupBy(a => a.Port).Where(g => g.Count() > 1))
            yield return $"Port {shared.Key} is used {shared.Count()} times among --httpAddr, --grpcAddr, --secureGRPCAddr and --monitoringAddr.";
    }
}

/// <summary>Where to listen. <see cref="Host"/> is <c>*</c> for every address; port 0 takes a free one.</summary>
public sealed record ListenAddress(string Host, int Port)
{
    public override string ToString() => $"{Host}:{Port}";
}
