using System.Globalization;
using System.Net;
using AmbientMesh.ControlPlane.Certificates;
using AmbientMesh.Model;
using AmbientMesh.Telemetry.Otlp;

namespace AmbientMesh.ControlPlane.Settings;

/// <summary>Reads <see cref="ControlPlaneSettings"/> from environment and arguments; gathers every problem instead of stopping at the first.</summary>
internal sealed class SettingsReader
{
    private readonly Func<string, string?> _environment;
    private readonly Dictionary<string, string> _flags;
    private readonly List<string> _problems = [];
    private readonly ControlPlaneSettings _default = new();

    private SettingsReader(IReadOnlyList<string> arguments, Func<string, string?> environment)
    {
        _environment = environment;
        _flags = Flags(arguments);
    }

    /// <returns>The settings, and what is wrong with them: use them only when nothing is.</returns>
    public static (ControlPlaneSettings Settings, IReadOnlyList<string> Problems) Read(IReadOnlyList<string> arguments, Func<string, string?> environment)
    {
        var reader = new SettingsReader(arguments, environment);
        var settings = reader.Settings();
        reader._problems.AddRange(reader._flags.Keys.Select(unknown => $"--{unknown} is not a flag of this program."));
        if (reader._problems.Count == 0) reader._problems.AddRange(settings.Problems());
        return (settings, reader._problems);
    }

    private ControlPlaneSettings Settings() => new()
    {
        ClusterId = Text("CLUSTER_ID", _default.ClusterId),
        SystemNamespace = Text("POD_NAMESPACE", _default.SystemNamespace),
        PodName = Text("POD_NAME", _default.PodName),
        Revision = Text("REVISION", _default.Revision),
        TrustDomain = Variable("TRUST_DOMAIN"),
        DomainSuffix = Flag("domain") ?? Text("DOMAIN_SUFFIX", _default.DomainSuffix),
        Kubeconfig = Flag("kubeconfig"),
        Http = Listen("httpAddr", _default.Http) ?? _default.Http,
        PlaintextGrpc = Listen("grpcAddr", _default.PlaintextGrpc!, mayBeOff: true),
        SecureGrpc = Listen("secureGRPCAddr", _default.SecureGrpc) ?? _default.SecureGrpc,
        Monitoring = Listen("monitoringAddr", _default.Monitoring) ?? _default.Monitoring,
        TokenAudiences = List("TOKEN_AUDIENCES", _default.TokenAudiences),
        AuthenticateDiscovery = Boolean("XDS_AUTH", _default.AuthenticateDiscovery),
        AuthenticatePlaintextDiscovery = Boolean("XDS_AUTH_PLAINTEXT", _default.AuthenticatePlaintextDiscovery),
        CheckDiscoveryIdentity = Boolean("PILOT_ENABLE_XDS_IDENTITY_CHECK", _default.CheckDiscoveryIdentity),
        ServesAmbient = Boolean("PILOT_ENABLE_AMBIENT", _default.ServesAmbient),
        SendsDryRunPolicies = Boolean("AMBIENT_ENABLE_DRY_RUN_AUTHORIZATION_POLICY", _default.SendsDryRunPolicies),
        IgnoresUnjudgedDenials = Boolean("AMBIENT_IGNORE_UNJUDGED_DENY", _default.IgnoresUnjudgedDenials),
        AllowsFromWaypoints = Boolean("PILOT_AUTO_ALLOW_WAYPOINT_POLICY", _default.AllowsFromWaypoints),
        WritesStatus = Boolean("AMBIENT_ENABLE_STATUS", _default.WritesStatus),
        UntaintsNodes = Boolean("PILOT_ENABLE_NODE_UNTAINT_CONTROLLERS", _default.UntaintsNodes),
        AllocatesAddresses = Boolean("PILOT_ENABLE_IP_AUTOALLOCATE", _default.AllocatesAddresses),
        AllocatedIpv4 = Range("PILOT_IP_AUTOALLOCATE_IPV4_PREFIX", _default.AllocatedIpv4),
        AllocatedIpv6 = Range("PILOT_IP_AUTOALLOCATE_IPV6_PREFIX", _default.AllocatedIpv6),
        DebounceQuiet = Duration("PILOT_DEBOUNCE_AFTER", _default.DebounceQuiet),
        DebounceMax = Duration("PILOT_DEBOUNCE_MAX", _default.DebounceMax),
        MaxStreamsPerSecond = Number("PILOT_MAX_REQUESTS_PER_SECOND", _default.MaxStreamsPerSecond),
        MaxStreamAge = Flag("keepaliveMaxServerConnectionAge") is { } age ? Duration("--keepaliveMaxServerConnectionAge", age, TimeSpan.FromMinutes(30)) : null,
        MaxReceiveBytes = (int)Number("ISTIO_GPRC_MAXRECVMSGSIZE", _default.MaxReceiveBytes),
        TrustedNodeAccounts = List("CA_TRUSTED_NODE_ACCOUNTS", _default.TrustedNodeAccounts),
        DefaultCertificateLifetime = Duration("DEFAULT_WORKLOAD_CERT_TTL", _default.DefaultCertificateLifetime),
        MaxCertificateLifetime = Duration("MAX_WORKLOAD_CERT_TTL", _default.MaxCertificateLifetime),
        PluggedCaFolder = Text("ROOT_CA_DIR", _default.PluggedCaFolder),
        DistributesRevocations = Boolean("PILOT_ENABLE_CA_CRL", _default.DistributesRevocations),
        CustomHosts = List("ISTIOD_CUSTOM_HOST", _default.CustomHosts),
        SelfSignedKeyBits = (int)Number("CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE", _default.SelfSignedKeyBits),
        SelfSignedLifetime = Duration("CITADEL_SELF_SIGNED_CA_CERT_TTL", _default.SelfSignedLifetime),
        RootRotation = new RootRotationOptions
        {
            CheckInterval = Duration("CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL", _default.RootRotation.CheckInterval),
            GracePercent = (int)Number("CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE", _default.RootRotation.GracePercent),
            HasJitter = Boolean("CITADEL_ENABLE_JITTER_FOR_ROOT_CERT_ROTATOR", _default.RootRotation.HasJitter),
        },
        CoverageInterval = Duration("COVERAGE_INTERVAL", _default.CoverageInterval),
        Export = Export(),
        LogsAsJson = Chosen(("LOG_FORMAT", Text("LOG_FORMAT", "text")), "text", "json") == "json",
        LogLevel = Chosen(LevelFlag() is { } level ? ("--log_output_level", level) : ("LOG_LEVEL", Text("LOG_LEVEL", _default.LogLevel)), "error", "warn", "info", "debug", "trace"),
    };

    private OtlpSettings Export()
    {
        var settings = OtlpSettings.Read(_environment, out var problems);
        _problems.AddRange(problems);
        return settings with { Traces = null };   // no connection of applications passes here
    }

    private string? Variable(string name) => _environment(name) is { Length: > 0 } value ? value : null;

    private string Text(string name, string otherwise) => Variable(name) ?? otherwise;

    private IReadOnlyList<string> List(string name, IReadOnlyList<string> otherwise) =>
        Variable(name)?.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) ?? otherwise;

    private string Chosen((string Name, string Value) setting, params string[] allowed)
    {
        var value = setting.Value.ToLowerInvariant();
        if (!allowed.Contains(value)) _problems.Add($"{setting.Name} is '{setting.Value}'; expected {string.Join(", ", allowed)}.");
        return value;
    }

    /// <summary>The level of istiod's scope <c>default</c>; it has no others that we would know.</summary>
    private string? LevelFlag() =>
        Flag("log_output_level")?.Split(',').LastOrDefault(part => !part.Contains(':') || part.StartsWith("default:", StringComparison.Ordinal))?.Replace("default:", "");

    private bool Boolean(string name, bool otherwise)
    {
        switch (Variable(name)?.ToLowerInvariant())
        {
            case null: return otherwise;
            case "true" or "1": return true;
            case "false" or "0": return false;
            default:
                _problems.Add($"{name} is '{Variable(name)}'; expected true or false.");
                return otherwise;
        }
    }

    private IPNetwork Range(string name, IPNetwork otherwise)
    {
        if (Variable(name) is not { } text) return otherwise;
        if (IPNetwork.TryParse(text, out var range)) return range;
        _problems.Add($"{name} is '{text}'; expected a CIDR range such as 240.240.0.0/16, with no bits set after the prefix.");
        return otherwise;
    }

    private TimeSpan Duration(string name, TimeSpan otherwise) => Variable(name) is { } text ? Duration(name, text, otherwise) : otherwise;

    private TimeSpan Duration(string name, string text, TimeSpan otherwise)
    {
        if (GoDuration.TryParse(text, out var duration)) return duration;
        _problems.Add($"{name} is '{text}'; expected a duration such as 100ms, 10s or 24h.");
        return otherwise;
    }

    private double Number(string name, double otherwise)
    {
        if (Variable(name) is not { } text) return otherwise;
        if (double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number) && number <= int.MaxValue) return number;
        _problems.Add($"{name} is '{text}'; expected a number.");
        return otherwise;
    }

    private string? Flag(string name) => _flags.Remove(name, out var value) ? value : null;

    private ListenAddress? Listen(string flag, ListenAddress otherwise, bool mayBeOff = false)
    {
        if (Flag(flag) is not { } text) return otherwise;
        if (text.Length == 0 && mayBeOff) return null;
        var colon = text.LastIndexOf(':');
        var host = colon < 0 ? "" : text[..colon].Trim('[', ']');
        if (colon >= 0 && ushort.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var port)
            && (host is "" or "*" || IPAddress.TryParse(host, out _)))
            return new ListenAddress(host.Length == 0 ? "*" : host, port);
        _problems.Add($"--{flag} is '{text}'; expected :port or address:port{(mayBeOff ? ", or nothing to leave it out" : "")}.");
        return otherwise;
    }

    // istiod is started as `pilot-discovery discovery --flag value`; the same command line works here.
    private Dictionary<string, string> Flags(IReadOnlyList<string> arguments)
    {
        var flags = new Dictionary<string, string>();
        for (var i = arguments.FirstOrDefault() == "discovery" ? 1 : 0; i < arguments.Count; i++)
        {
            if (!arguments[i].StartsWith("--", StringComparison.Ordinal))
            {
                _problems.Add($"'{arguments[i]}' is not a flag.");
                continue;
            }
            var flag = arguments[i][2..];
            var equals = flag.IndexOf('=');
            if (equals >= 0) flags[flag[..equals]] = flag[(equals + 1)..];
            else if (i + 1 < arguments.Count) flags[flag] = arguments[++i];
            else _problems.Add($"--{flag} has no value.");
        }
        return flags;
    }
}
