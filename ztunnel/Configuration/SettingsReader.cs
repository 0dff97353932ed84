using System.Text.Json;
using AmbientMesh.Telemetry;
using AmbientMesh.Telemetry.Otlp;

namespace AmbientMesh.Ztunnel.Configuration;

/// <summary>Turns the environment into settings; what cannot be honoured safely is a problem, never ignored (L4 reference §12.2).</summary>
public static class SettingsReader
{
    private const string InClusterAddress = "https://istiod.istio-system.svc:15012";
    private const string OutsideAddress = "https://localhost:15012";
    private const string DefaultTokenPath = "./var/run/secrets/tokens/istio-token";

    // Set for a reason and not carried out by this proxy: starting anyway would be less safe than the user believes.
    private static readonly (string Name, string Why)[] Unsupported =
    [
        ("COMPLIANCE_POLICY", "key exchange policies are not enforced"),
        ("LOCAL_XDS", "static configuration is not read"),
        ("LOCAL_XDS_PATH", "static configuration is not read"),
    ];

    private static readonly (string Name, string Why)[] UnsupportedSwitches =
    [
        ("FAKE_CA", "certificates are only taken from the CA"),
        ("XDS_ON_DEMAND", "only wildcard subscriptions are made"),
        ("UNSTABLE_ENABLE_SOCKS5", "there is no SOCKS5 listener"),
        ("TLS12_ENABLED", "only TLS 1.3 is spoken between proxies"),
    ];

    /// <summary>The settings; <paramref name="problems"/> has every problem, each naming its variable, and is empty when they are usable.</summary>
    public static ZtunnelSettings Read(IReadOnlyDictionary<string, string> environment, Func<string, bool> fileExists, out IReadOnlyList<string> problems)
    {
        var env = new EnvironmentReader(environment);
        foreach (var (name, why) in Unsupported)
            if (env.Find(name) is not null) env.Problem($"{name} is set, but {why} by this proxy; unset it.");
        foreach (var (name, why) in UnsupportedSwitches)
            if (env.Flag(name, false)) env.Problem($"{name} is true, but {why} by this proxy; unset it.");
        if (env.Text("PROXY_MODE", "shared") is not ("shared" or "Shared")) env.Problem($"PROXY_MODE is \"{env.Find("PROXY_MODE")}\"; only shared is supported.");
        var settings = ReadSettings(env, environment.ContainsKey("KUBERNETES_SERVICE_HOST") ? InClusterAddress : OutsideAddress, fileExists);
        problems = env.Problems;
        return settings;
    }

    private static ZtunnelSettings ReadSettings(EnvironmentReader env, string controlPlane, Func<string, bool> fileExists)
    {
        var defaults = new ZtunnelSettings();
        var clusterId = env.Find("ISTIO_META_CLUSTER_ID") ?? env.Text("CLUSTER_ID", defaults.ClusterId);
        return new ZtunnelSettings
        {
            XdsAddress = env.Address("XDS_ADDRESS", controlPlane),
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
            ResponseBaggage = env.Flag("ENABLE_RESPONSE_BAGGAGE", true),
            PolicyInfoLogging = env.Flag("AUTHZ_POLICY_INFO_LOGGING", false),
            TerminationDeadline = ZtunnelSettings.DeadlineWithin(env.DurationOrNull("CONNECTION_TERMINATION_DEADLINE"), env.NumberOrNull("TERMINATION_GRACE_PERIOD_SECONDS", 0, 86_400)),
            Export = Export(env),
            LogLayout = Layout(env),
            LogLevels = Levels(env),
            Metadata = new Dictionary<string, string>(env.WithPrefix("ISTIO_META_")),
            JsonMetadata = Json(env),
            XdsHeaders = Headers(env, "XDS_HEADER_"),
            CaHeaders = Headers(env, "CA_HEADER_"),
        };
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
