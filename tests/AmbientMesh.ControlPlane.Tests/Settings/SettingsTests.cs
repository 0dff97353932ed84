using AmbientMesh.ControlPlane.Settings;
using AmbientMesh.Kubernetes;
using AmbientMesh.Model;

namespace AmbientMesh.ControlPlane.Tests.Settings;

public class SettingsTests
{
    private static (ControlPlaneSettings Settings, IReadOnlyList<string> Problems) Read(string arguments = "", params (string Name, string Value)[] environment)
    {
        var variables = environment.ToDictionary(e => e.Name, e => e.Value);
        return SettingsReader.Read(arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries), variables.GetValueOrDefault);
    }

    [Fact]
    public void The_page_of_settings_names_every_variable_with_its_default() => SettingsPage.Of("istiod").IsTrueOf(
        new Dictionary<string, string> { ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://collector:4318" }, environment => SettingsReader.Read([], environment.Find));

    [Fact]
    public void An_empty_environment_gives_the_defaults()
    {
        var (settings, problems) = Read();
        Assert.Empty(problems);
        Assert.Equal(new ControlPlaneSettings().ToString(), settings.ToString());
        Assert.Equal((15010, 15012, 15014, 8080), (settings.PlaintextGrpc!.Port, settings.SecureGrpc.Port, settings.Monitoring.Port, settings.Http.Port));
    }

    [Fact]
    public void Istiods_variables_and_flags_are_understood()
    {
        var (settings, problems) = Read(
            "discovery --secureGRPCAddr=127.0.0.1:0 --grpcAddr= --monitoringAddr [::1]:1 --domain example.test --keepaliveMaxServerConnectionAge 30m --log_output_level=default:debug,ads:warn",
            ("CLUSTER_ID", "east"), ("CA_TRUSTED_NODE_ACCOUNTS", "istio-system/ztunnel, kube-system/ztunnel"), ("PILOT_DEBOUNCE_AFTER", "50ms"),
            ("PILOT_DEBOUNCE_MAX", "1m30s"), ("XDS_AUTH", "0"), ("DEFAULT_WORKLOAD_CERT_TTL", "1h"), ("LOG_FORMAT", "JSON"));
        Assert.Empty(problems);
        Assert.Equal(("east", "example.test", false, true), (settings.ClusterId, settings.DomainSuffix, settings.AuthenticateDiscovery, settings.LogsAsJson));
        Assert.Equal(["istio-system/ztunnel", "kube-system/ztunnel"], settings.TrustedNodeAccounts);
        Assert.Equal((50.0, 90_000.0), (settings.DebounceQuiet.TotalMilliseconds, settings.DebounceMax.TotalMilliseconds));
        Assert.Null(settings.PlaintextGrpc);
        Assert.Equal((TimeSpan.FromMinutes(30), "debug"), (settings.MaxStreamAge!.Value, settings.LogLevel));
        Assert.Equal((new ListenAddress("127.0.0.1", 0), new ListenAddress("::1", 1)), (settings.SecureGrpc, settings.Monitoring));
    }

    [Fact]
    public void Every_problem_is_told_together_and_names_its_setting()
    {
        var (_, problems) = Read(
            "surplus --monitoringAddr nowhere --frobnicate=1 --domain", ("PILOT_DEBOUNCE_AFTER", "soon"), ("XDS_AUTH", "perhaps"),
            ("PILOT_MAX_REQUESTS_PER_SECOND", "many"), ("LOG_LEVEL", "loud"));
        Assert.Equal(
            [
                "'surplus' is not a flag.",
                "--domain has no value.",
                "--monitoringAddr is 'nowhere'; expected :port or address:port.",
                "XDS_AUTH is 'perhaps'; expected true or false.",
                "PILOT_DEBOUNCE_AFTER is 'soon'; expected a duration such as 100ms, 10s or 24h.",
                "PILOT_MAX_REQUESTS_PER_SECOND is 'many'; expected a number.",
                "LOG_LEVEL is 'loud'; expected error, warn, info, debug, trace.",
                "--frobnicate is not a flag of this program.",
            ],
            problems);
    }

    [Theory]
    [InlineData("PILOT_DEBOUNCE_MAX", "1ms", "must not be shorter")]
    [InlineData("CA_TRUSTED_NODE_ACCOUNTS", "ztunnel", "'ztunnel'")]
    [InlineData("MAX_WORKLOAD_CERT_TTL", "1h", "DEFAULT_WORKLOAD_CERT_TTL")]
    [InlineData("TOKEN_AUDIENCES", ",", "TOKEN_AUDIENCES is empty")]
    [InlineData("CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE", "1024", "2048 to 8192")]
    [InlineData("CITADEL_SELF_SIGNED_CA_CERT_TTL", "59m", "at least 1h")]
    [InlineData("CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE", "0", "1 to 90 percent")]
    [InlineData("CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE", "91", "1 to 90 percent")]
    [InlineData("CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL", "hourly", "expected a duration")]
    public void Settings_that_do_not_go_together_are_refused(string name, string value, string told) =>
        Assert.Contains(told, Assert.Single(Read("", (name, value)).Problems), StringComparison.Ordinal);

    [Fact]
    public void Two_listeners_on_one_port_are_refused() =>
        Assert.StartsWith("Port 15012 is used 2 times", Assert.Single(Read("--httpAddr=:15012").Problems), StringComparison.Ordinal);

    [Theory]
    [InlineData("100ms", 0.1)]
    [InlineData("1h30m", 5400)]
    [InlineData("1.5s", 1.5)]
    [InlineData("0", 0)]
    public void Go_durations_are_read(string text, double seconds)
    {
        Assert.True(GoDuration.TryParse(text, out var duration));
        Assert.Equal(seconds, duration.TotalSeconds, 9);
    }

    [Theory]
    [InlineData("")]
    [InlineData("10")]
    [InlineData("-1s")]
    [InlineData("1 s")]
    [InlineData("999999999999h")]
    public void Anything_else_is_no_duration(string text) => Assert.False(GoDuration.TryParse(text, out _));

    [Fact]
    public void The_mesh_configuration_gives_trust_domain_and_root_namespace()
    {
        var map = new ConfigMap { Metadata = new ObjectMeta { Name = "istio", Namespace = "istio-system" }, Data = new Dictionary<string, string> { ["mesh"] = "trustDomain: example.org\nrootNamespace: mesh\naccessLogFile: /dev/stdout\n" } };
        Assert.Equal(new MeshConfiguration("example.org", "mesh"), MeshConfiguration.Of(map));
        Assert.Equal(MeshConfiguration.None, MeshConfiguration.Of(null));
    }

    [Theory]
    [InlineData("a: [")]
    [InlineData("- list")]
    public void A_broken_mesh_configuration_is_named(string text)
    {
        var map = new ConfigMap { Metadata = new ObjectMeta { Name = "istio", Namespace = "istio-system" }, Data = new Dictionary<string, string> { ["mesh"] = text } };
        Assert.Contains("ConfigMap istio-system/istio", Assert.Throws<FormatException>(() => MeshConfiguration.Of(map)).Message, StringComparison.Ordinal);
    }
}
