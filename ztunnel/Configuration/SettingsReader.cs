using System.Text.Json;
using AmbientMesh.Identity;
using AmbientMesh.Model;
using AmbientMesh.Telemetry;
using AmbientMesh.Telemetry.Otlp;

namespace AmbientMesh.Ztunnel.Configuration;

/// <summary>Turns the environment into settings; what cannot be honoured safely is a problem, never ignored (L4 reference §12.2).</summary>
public static class SettingsReader
{
    private const string InClusterAddress = "https://istiod.istio-system.svc:15012";
    private const string OutsideAddress = "https://localhost:15012";
    private const string DefaultTokenPath = "./var/run/secrets/tokens/istio-token";
    private const string MeshFile = "./etc/istio/config/mesh";
    private const string DnsCapture = "DNS_CAPTURE", DnsProxyAddress = "DNS_PROXY_ADDR";

    // Set for a reason and not carried out by this proxy: starting anyway would be less safe than the user believes.
    private static readonly (string Name, string Why)[] Unsupported =
    [
        ("COMPLIANCE_POLICY", "key exchange policies are not enforced"),
    ];

    private static readonly (string Name, string Why)[] UnsupportedSwitches =
    [
        ("FAKE_CA", "certificates are only taken from the CA"),
        ("TLS12_ENABLED", "only TLS 1.3 is spoken between proxies"),
    ];

    /// <summary>The settings; <paramref name="problems"/> has every problem, each naming its variable, and is empty when they are usable.</summary>
    /// <param name="readFile">The text of a file; null when there is none.</param>
    /// <param name="processors">Of this machine.</param>
    public static ZtunnelSettings Read(IReadOnlyDictionary<string, string> environment, Func<string, bool> fileExists, out IReadOnlyList<string> problems, Func<string, string?>? readFile = null, int? processors = null)
    {
        var env = new EnvironmentReader(environment);
        foreach (var (name, why) in Unsupported)
            if (env.Find(name) is not null) env.Problem($"{name} is set, but {why} by this proxy; unset it.");
        foreach (var (name, why) in UnsupportedSwitches)
            if (env.Flag(name, false)) env.Problem($"{name} is true, but {why} by this proxy; unset it.");
        if (!env.Flag("ENABLE_PROXY", true)) env.Problem("ENABLE_PROXY is false, but this proxy does nothing else; unset it.");
        readFile ??= _ => null;
        var proxy = ReadProxyConfig(env, readFile);
        var settings = ReadSettings(env, environment.ContainsKey("KUBERNETES_SERVICE_HOST") ? InClusterAddress : OutsideAddress, fileExists, proxy) with
        {
            DedicatedWorkload = Dedicated(env),
            XdsOnDemand = env.Flag("XDS_ON_DEMAND", false),
            Static = ReadStatic(env, readFile),
            WorkerThreads = Threads(env, proxy, processors ?? Environment.ProcessorCount),
        };
        // Alone in its namespace a proxy is told apart by its user; a mark is for rules that go by one.
        if (settings.DedicatedWorkload is not null && env.Find("PACKET_MARK") is null) settings = settings with { PacketMark = 0 };
        settings = WithDns(env, settings);
        if (settings is { XdsOnDemand: true, DnsProxy: true }) env.Problem("XDS_ON_DEMAND is true and the DNS proxy is on; it cannot answer names it was not told: set ISTIO_META_DNS_CAPTURE to false.");
        problems = env.Problems;
        return settings;
    }

    private static ZtunnelSettings ReadSettings(EnvironmentReader env, string controlPlane, Func<string, bool> fileExists, ProxyConfig proxy)
    {
        var defaults = new ZtunnelSettings();
        var clusterId = env.Find("ISTIO_META_CLUSTER_ID") ?? env.Text("CLUSTER_ID", defaults.ClusterId);
        return new ZtunnelSettings
        {
            XdsAddress = env.Address("XDS_ADDRESS", proxy.DiscoveryAddress ?? controlPlane),
            AdminPort = proxy.AdminPort ?? defaults.AdminPort,
            StatsPort = proxy.StatsPort ?? defaults.StatsPort,
            CaAddress = env.Address("CA_ADDRESS", controlPlane),
            XdsRootCa = env.Text("XDS_ROOT_CA", defaults.XdsRootCa),
            CaRootCa = env.Text("CA_ROOT_CA", defaults.CaRootCa),
            AltXdsHostname = env.Find("ALT_XDS_HOSTNAME"),
            AltCaHostname = env.Find("ALT_CA_HOSTNAME"),
            TokenPath = Token(env, fileExists),
            CrlPath = env.Find("CRL_PATH"),
            SecretTtl = env.Duration("SECRET_TTL", defaults.SecretTtl),
            ClusterId = clusterId,
            ClusterDomain = env.Text("CLUSTER_DOMAIN", defaults.ClusterDomain),
            TrustDomain = env.Text("TRUST_DOMAIN", defaults.TrustDomain),
            Network = env.Text("NETWORK", ""),
            NodeName = env.Text("NODE_NAME", ""),
            InstanceIp = env.Text("INSTANCE_IP", defaults.InstanceIp),
            PodName = env.Text("POD_NAME", ""),
            PodNamespace = env.Text("POD_NAMESPACE", ""),
            ServiceAccount = env.Text("SERVICE_ACCOUNT", ""),
            PreferredServiceNamespace = env.Find("PREFERED_SERVICE_NAMESPACE"),   // spelled as the original does
            IPv6Enabled = env.Flag("IPV6_ENABLED", true),
            OriginalSource = env.Find("ENABLE_ORIG_SRC") is null ? SourcePreservation.Auto : env.Flag("ENABLE_ORIG_SRC", true) ? SourcePreservation.Required : SourcePreservation.Off,
            KeepAliveEnabled = env.Flag("KEEPALIVE_ENABLED", true),
            KeepAliveTime = env.Duration("KEEPALIVE_TIME", defaults.KeepAliveTime),
            KeepAliveInterval = env.Duration("KEEPALIVE_INTERVAL", defaults.KeepAliveInterval),
            KeepAliveRetries = env.Number("KEEPALIVE_RETRIES", defaults.KeepAliveRetries, 1, 127),
            UserTimeoutEnabled = env.Flag("USER_TIMEOUT_ENABLED", false),
            PacketMark = env.Number("PACKET_MARK", defaults.PacketMark, 1, 0xfff),
            InPodSocket = env.Text("INPOD_UDS", defaults.InPodSocket),
            InPodPortReuse = env.Flag("INPOD_PORT_REUSE", true),
            PoolMaxStreamsPerConnection = env.Number("POOL_MAX_STREAMS_PER_CONNECTION", defaults.PoolMaxStreamsPerConnection, 1, 100_000),
            PoolUnusedReleaseTimeout = env.Duration("POOL_UNUSED_RELEASE_TIMEOUT", defaults.PoolUnusedReleaseTimeout),
            Http2StreamWindow = env.Number("HTTP2_STREAM_WINDOW_SIZE", defaults.Http2StreamWindow, 65_535, int.MaxValue),
            Http2ConnectionWindow = env.Number("HTTP2_CONNECTION_WINDOW_SIZE", defaults.Http2ConnectionWindow, 65_535, int.MaxValue),
            Http2FrameSize = env.Number("HTTP2_FRAME_SIZE", defaults.Http2FrameSize, 16_384, 16_777_215),
            LocalhostAppTunnel = env.Flag("LOCALHOST_APP_TUNNEL", true),
            Socks5 = env.Flag("UNSTABLE_ENABLE_SOCKS5", false),
            SvidRules = env.Flag("ALLOW_SEVERAL_URI_SANS", false) ? SvidRules.IstioLax : SvidRules.Strict,
            RequireWaypoint = env.Flag("REQUIRE_WAYPOINT", false),
            ResponseBaggage = env.Flag("ENABLE_RESPONSE_BAGGAGE", true),
            ConnectAttempts = env.Number("AMBIENT_CONNECT_ATTEMPTS", defaults.ConnectAttempts, 1, 10),
            ConnectAttemptTimeout = env.Duration("AMBIENT_CONNECT_ATTEMPT_TIMEOUT", defaults.ConnectAttemptTimeout, TimeSpan.FromMilliseconds(100), TimeSpan.FromMinutes(1)),
            PolicyInfoLogging = env.Flag("AUTHZ_POLICY_INFO_LOGGING", false),
            IgnoresUnreadablePolicies = env.Flag("IGNORE_UNREADABLE_POLICIES", false),
            TerminationDeadline = ZtunnelSettings.DeadlineWithin(env.DurationOrNull("CONNECTION_TERMINATION_DEADLINE"), env.NumberOrNull("TERMINATION_GRACE_PERIOD_SECONDS", 0, 86_400)),
            Export = Export(env),
            LogLayout = Layout(env),
            LogLevels = Levels(env),
            Metadata = Merged(proxy.Metadata, env.WithPrefix("ISTIO_META_")),
            JsonMetadata = Json(env),
            XdsHeaders = Headers(env, "XDS_HEADER_"),
            CaHeaders = Headers(env, "CA_HEADER_"),
        };
    }

    private static Dictionary<string, string> Merged(IReadOnlyDictionary<string, string> under, IEnumerable<KeyValuePair<string, string>> over)
    {
        var merged = new Dictionary<string, string>(under);
        foreach (var (key, value) in over) merged[key] = value;
        return merged;
    }

    private static ProxyConfig ReadProxyConfig(EnvironmentReader env, Func<string, string?> readFile)
    {
        var mesh = Parsed(env, MeshFile, readFile(MeshFile), ProxyConfig.OfMesh, ProxyConfig.None);
        return Parsed(env, "PROXY_CONFIG", env.Find("PROXY_CONFIG"), ProxyConfig.Of, ProxyConfig.None).Over(mesh);
    }

    private static StaticResources ReadStatic(EnvironmentReader env, Func<string, string?> readFile)
    {
        var (text, path) = (env.Find("LOCAL_XDS"), env.Find("LOCAL_XDS_PATH"));
        if (text is not null && path is not null) env.Problem("LOCAL_XDS and LOCAL_XDS_PATH are both set; set one of them.");
        if (path is null) return Parsed(env, "LOCAL_XDS", text, StaticResources.Read, StaticResources.None);
        text = readFile(path);
        if (text is null) env.Problem($"LOCAL_XDS_PATH names {path}, which is no file.");
        return Parsed(env, path, text, StaticResources.Read, StaticResources.None);
    }

    private static T Parsed<T>(EnvironmentReader env, string what, string? text, Func<string, T> parse, T otherwise)
    {
        if (text is null) return otherwise;
        try
        {
            return parse(text);
        }
        catch (FormatException e)
        {
            env.Problem($"{what} cannot be read: {e.Message}.");
            return otherwise;
        }
    }

    private static WorkloadInfo? Dedicated(EnvironmentReader env)
    {
        switch (env.Text("PROXY_MODE", "shared"))
        {
            case "shared" or "Shared":
                return null;
            case "dedicated" or "Dedicated":
                if (env.Text("PROXY_WORKLOAD_INFO", "").Split('/') is [{ Length: > 0 } ns, { Length: > 0 } name, { Length: > 0 } account]) return new WorkloadInfo(name, ns, account);
                env.Problem($"PROXY_WORKLOAD_INFO is \"{env.Find("PROXY_WORKLOAD_INFO")}\"; with PROXY_MODE=dedicated it must be namespace/name/service account.");
                return null;
            case var other:
                env.Problem($"PROXY_MODE is \"{other}\"; expected shared or dedicated.");
                return null;
        }
    }

    private static ZtunnelSettings WithDns(EnvironmentReader env, ZtunnelSettings settings)
    {
        var isOn = !settings.Metadata.TryGetValue(DnsCapture, out var capture) || capture.Equals("true", StringComparison.OrdinalIgnoreCase);
        if (!settings.Metadata.TryGetValue(DnsProxyAddress, out var address)) return settings with { DnsProxy = isOn };
        var colon = address.LastIndexOf(':');
        var host = colon < 0 ? address : address[..colon].Trim('[', ']');
        if (colon >= 0 && ushort.TryParse(address.AsSpan(colon + 1), out var port) && port > 0 && (host == "localhost" || System.Net.IPAddress.TryParse(host, out _)))
            return settings with { DnsProxy = isOn, DnsProxyHost = host, DnsProxyPort = port };
        env.Problem($"{DnsProxyAddress} of the proxy's metadata is \"{address}\"; expected localhost:port or IP:port.");
        return settings;
    }

    private static int Threads(EnvironmentReader env, ProxyConfig proxy, int processors)
    {
        var limit = env.NumberOrNull("ZTUNNEL_CPU_LIMIT", 1, 4096) ?? env.NumberOrNull("ZTUNNEL_RESOURCE_CPU_LIMIT", 1, 4096);
        var asked = env.Find("ZTUNNEL_WORKER_THREADS");
        try
        {
            return WorkerThreads.Count(asked, proxy.Concurrency, limit, env.NumberOrNull("ZTUNNEL_RESOURCE_CPU_REQUEST", 0, 4096), processors);
        }
        catch (FormatException e)
        {
            env.Problem($"ZTUNNEL_WORKER_THREADS is \"{asked}\"; expected {e.Message}.");
            return processors;
        }
    }

    private static string? Token(EnvironmentReader env, Func<string, bool> fileExists)
    {
        if (env.Find("AUTH_TOKEN") is not { } path) return fileExists(DefaultTokenPath) ? DefaultTokenPath : null;
        if (!fileExists(path)) env.Problem($"AUTH_TOKEN names {path}, which is no file.");
        return path;
    }

    private static OtlpSettings Export(EnvironmentReader env)
    {
        var settings = OtlpSettings.Read(env.Find, out var problems);
        foreach (var problem in problems) env.Problem(problem);
        return settings;
    }

    private static LogLayout Layout(EnvironmentReader env)
    {
        var text = env.Text("LOG_FORMAT", "plain");
        if (text is not ("plain" or "json")) env.Problem($"LOG_FORMAT is \"{text}\"; expected plain or json.");
        return text == "json" ? LogLayout.Json : LogLayout.Plain;
    }

    private static string Levels(EnvironmentReader env)
    {
        var text = env.Text("RUST_LOG", "info");
        if (!LogFilter.TryParse(text, out _, out var problem)) env.Problem($"RUST_LOG has the level \"{problem}\"; expected error, warn, info, debug, trace or off.");
        return text;
    }

    private static Dictionary<string, string> Json(EnvironmentReader env)
    {
        var values = new Dictionary<string, string>();
        foreach (var (key, value) in env.WithPrefix("ISTIO_METAJSON_"))
        {
            try
            {
                using var _ = JsonDocument.Parse(value);
                values[key] = value;
            }
            catch (JsonException e)
            {
                env.Problem($"ISTIO_METAJSON_{key} is not JSON: {e.Message}");
            }
        }
        return values;
    }

    private static List<KeyValuePair<string, string>> Headers(EnvironmentReader env, string prefix) =>
        [.. env.WithPrefix(prefix).Select(pair => new KeyValuePair<string, string>(pair.Key.ToLowerInvariant(), pair.Value))];
}
