using System.Globalization;
using System.Net;
using AmbientMesh.Cni.Node.Enrollment;
using AmbientMesh.Cni.Node.Redirection;
using AmbientMesh.Telemetry.Otlp;

namespace AmbientMesh.Cni.Node;

/// <summary>Settings of the node agent, from its environment. Source: reference 9.11; what differs from Istio's defaults says so.</summary>
internal sealed record AgentSettings
{
    public required string NodeName { get; init; }
    public string PodName { get; init; } = "";
    /// <summary>POD_NAMESPACE: where the agent runs.</summary>
    public string PodNamespace { get; init; } = "istio-system";
    /// <summary>SYSTEM_NAMESPACE: where ztunnel runs.</summary>
    public string SystemNamespace { get; init; } = "istio-system";
    public bool AmbientEnabled { get; init; } = true;
    public IReadOnlyList<EnrollmentSelector> Selectors { get; init; } = EnrollmentSelector.Defaults;
    public IReadOnlySet<string> ExcludedNamespaces { get; init; } = new HashSet<string>(["kube-system"]);
    /// <summary>AMBIENT_DNS_CAPTURE: lookups of pods go to ztunnel's DNS proxy where neither the pod nor its namespace says otherwise.</summary>
    public bool CapturesDns { get; init; } = true;
    public bool ReconcilesOnStartup { get; init; } = true;
    /// <summary>LEAVE_GRACE_SECONDS and LEAVE_DRAIN_SECONDS.</summary>
    public LeaveTimes Leaving { get; init; } = new(TimeSpan.FromSeconds(5), TimeSpan.FromSeconds(5));
    public bool UsesNftables { get; init; }
    public string ForcedIptables { get; init; } = "";
    public RedirectSettings Redirect { get; init; } = new();
    /// <summary>ALLOW_SWITCH_TO_HOST_NS: the node's rules are written in the namespace of the node's process 1, not in the agent's own.</summary>
    public bool SwitchesToHostNamespace { get; init; }
    /// <summary>KUBELET_UID; null: found by the kubelet's process, or 0.</summary>
    public int? KubeletUserId { get; init; }

    /// <summary>HOST_PROC: the node's process table.</summary>
    public string HostProc { get; init; } = "/host/proc";
    /// <summary>HOST_ROOT: prefix of paths that the runtime names and that are mounted below it.</summary>
    public string HostRoot { get; init; } = "/host";
    public string CniConfigFolder { get; init; } = "/host/etc/cni/net.d";
    public string CniBinFolder { get; init; } = "/host/opt/cni/bin";
    /// <summary>PLUGIN_SOURCE: the plugin's executable inside the image; beside the agent unless set.</summary>
    public string PluginSource { get; init; } = Path.Combine(AppContext.BaseDirectory, "plugin", "istio-cni");
    /// <summary>CNI_AGENT_RUN_DIR; the same path on the node.</summary>
    public string RunFolder { get; init; } = "/var/run/istio-cni";
    public string CniConfigName { get; init; } = "";
    public bool Chained { get; init; } = true;
    public bool OwnsConfig { get; init; }
    public string OwnedConfigName { get; init; } = "02-istio-cni.conflist";
    public bool ConfigGroupReadable { get; init; }
    public bool DisableSafeUpgrade { get; init; }
    public string PluginLogLevel { get; init; } = "warn";
    public string ZdsSocket { get; init; } = "/var/run/ztunnel/ztunnel.sock";
    public int MonitoringPort { get; init; } = 15014;
    /// <summary>HEALTH_PORT.</summary>
    public int HealthPort { get; init; } = 8000;
    /// <summary>Export of metrics (OTEL_…); off unless an endpoint is set.</summary>
    public OtlpSettings Export { get; init; } = new();
    /// <summary>LOG_FORMAT <c>json</c>: one JSON object a line.</summary>
    public bool LogsAsJson { get; init; }
    /// <summary>RUST_LOG-like filter: AGENT_LOG_LEVEL.</summary>
    public string LogFilter { get; init; } = "info";

    public string PluginSocket => Path.Combine(RunFolder, "pluginevent.sock");
    public string LogSocket => Path.Combine(RunFolder, "log.sock");
    public string KubeconfigPath => Path.Combine(RunFolder, "istio-cni-kubeconfig");

    /// <summary>Reads the environment; every problem names its variable. The settings are usable only without problems.</summary>
    public static (AgentSettings Settings, IReadOnlyList<string> Problems) Read(Func<string, string?> environment)
    {
        var reader = new EnvironmentReader(environment);
        var d = new AgentSettings { NodeName = "" };
        var settings = new AgentSettings
        {
            NodeName = reader.Required("NODE_NAME"),
            PodName = reader.Text("POD_NAME", d.PodName),
            PodNamespace = reader.Text("POD_NAMESPACE", d.PodNamespace),
            SystemNamespace = reader.Text("SYSTEM_NAMESPACE", d.SystemNamespace),
            AmbientEnabled = reader.Flag("AMBIENT_ENABLED", d.AmbientEnabled),
            Selectors = reader.Parsed("AMBIENT_ENABLEMENT_SELECTOR", SelectorYaml.Read, d.Selectors),
            ExcludedNamespaces = reader.Parsed("EXCLUDE_NAMESPACES", text => new HashSet<string>(text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)), d.ExcludedNamespaces),
            CapturesDns = reader.Flag("AMBIENT_DNS_CAPTURE", d.CapturesDns),
            ReconcilesOnStartup = reader.Flag("AMBIENT_RECONCILE_POD_RULES_ON_STARTUP", d.ReconcilesOnStartup),
            Leaving = new LeaveTimes(reader.Seconds("LEAVE_GRACE_SECONDS", d.Leaving.Grace), reader.Seconds("LEAVE_DRAIN_SECONDS", d.Leaving.Drain)),
            UsesNftables = reader.Flag("NATIVE_NFTABLES", d.UsesNftables),
            ForcedIptables = reader.Text("FORCE_IPTABLES_BINARY", d.ForcedIptables),
            Redirect = new RedirectSettings
            {
                RedirectsIpv6 = reader.Flag("AMBIENT_IPV6", d.Redirect.RedirectsIpv6),
                ProbeAddress = reader.Parsed("HOST_PROBE_SNAT_IP", IPAddress.Parse, d.Redirect.ProbeAddress),
                ProbeAddressV6 = reader.Parsed("HOST_PROBE_SNAT_IPV6", IPAddress.Parse, d.Redirect.ProbeAddressV6),
            },
            SwitchesToHostNamespace = reader.Flag("ALLOW_SWITCH_TO_HOST_NS", d.SwitchesToHostNamespace),
            KubeletUserId = reader.Parsed<int?>("KUBELET_UID", text => int.Parse(text, NumberStyles.None, CultureInfo.InvariantCulture), d.KubeletUserId),
            HostProc = reader.Text("HOST_PROC", d.HostProc),
            HostRoot = reader.Text("HOST_ROOT", d.HostRoot),
            CniConfigFolder = reader.Text("MOUNTED_CNI_NET_DIR", d.CniConfigFolder),
            CniBinFolder = reader.Text("MOUNTED_CNI_BIN_DIR", d.CniBinFolder),
            PluginSource = reader.Text("PLUGIN_SOURCE", d.PluginSource),
            RunFolder = reader.Text("CNI_AGENT_RUN_DIR", d.RunFolder),
            CniConfigName = reader.Text("CNI_CONF_NAME", d.CniConfigName),
            Chained = reader.Flag("CHAINED_CNI_PLUGIN", d.Chained),
            OwnsConfig = reader.Flag("ISTIO_OWNED_CNI_CONFIG", d.OwnsConfig),
            OwnedConfigName = reader.Text("ISTIO_OWNED_CNI_CONFIG_FILENAME", d.OwnedConfigName),
            ConfigGroupReadable = reader.Flag("CNI_CONF_GROUP_READ", d.ConfigGroupReadable),
            DisableSafeUpgrade = reader.Flag("AMBIENT_DISABLE_SAFE_UPGRADE", d.DisableSafeUpgrade),
            PluginLogLevel = reader.Text("LOG_LEVEL", d.PluginLogLevel),
            ZdsSocket = reader.Text("ZTUNNEL_UDS_ADDRESS", d.ZdsSocket),
            MonitoringPort = reader.Port("MONITORING_PORT", d.MonitoringPort),
            HealthPort = reader.Port("HEALTH_PORT", d.HealthPort),
            LogsAsJson = reader.Parsed("LOG_FORMAT", text => text == "json" || (text == "text" ? false : throw new FormatException("expected text or json")), d.LogsAsJson),
            LogFilter = reader.Text("AGENT_LOG_LEVEL", d.LogFilter),
        };
        settings = settings with { Export = OtlpSettings.Read(environment, out var problems) with { Traces = null } };
        return (settings, [.. reader.Problems, .. problems]);
    }

    /// <summary>Reads variables, keeping a list of those that cannot be used.</summary>
    private sealed class EnvironmentReader(Func<string, string?> environment)
    {
        public List<string> Problems { get; } = [];

        public string Required(string name)
        {
            if (environment(name) is { Length: > 0 } value) return value;
            Problems.Add($"{name} is not set.");
            return "";
        }

        public string Text(string name, string fallback) => environment(name) is { Length: > 0 } value ? value : fallback;

        public bool Flag(string name, bool fallback) => Parsed(name, text => text switch
        {
            "true" or "True" or "TRUE" or "1" or "t" => true,
            "false" or "False" or "FALSE" or "0" or "f" => false,
            _ => throw new FormatException("expected true or false"),
        }, fallback);

        public int Port(string name, int fallback) => Parsed(name, text =>
            int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var port) && port is >= 0 and <= 65535 ? port : throw new FormatException("expected a port"), fallback);

        public TimeSpan Seconds(string name, TimeSpan fallback) => Parsed(name, text =>
            int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds) && seconds <= 300 ? TimeSpan.FromSeconds(seconds) : throw new FormatException("expected 0 to 300 seconds"), fallback);

        public T Parsed<T>(string name, Func<string, T> parse, T fallback)
        {
            if (environment(name) is not { Length: > 0 } value) return fallback;
            try
            {
                return parse(value);
            }
            catch (Exception e) when (e is FormatException or OverflowException)
            {
                Problems.Add($"{name} is '{value}': {e.Message}");
                return fallback;
            }
        }
    }
}
