using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Configuration;

namespace AmbientMesh.Ztunnel.Tests;

public sealed class SettingsReaderTests
{
    private static ZtunnelSettings Read(out IReadOnlyList<string> problems, params (string Name, string Value)[] environment) =>
        SettingsReader.Read(environment.ToDictionary(e => e.Name, e => e.Value), _ => true, out problems);

    private static ZtunnelSettings Usable(params (string, string)[] environment)
    {
        var settings = Read(out var problems, environment);
        Assert.Empty(problems);
        return settings;
    }

    [Fact]
    public void The_page_of_settings_names_every_variable_with_its_default() => SettingsPage.Of("ztunnel").IsTrueOf(
        new Dictionary<string, string> { ["KUBERNETES_SERVICE_HOST"] = "10.0.0.1", ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://collector:4318" },
        environment => (SettingsReader.Read(environment, _ => true, out var problems, processors: 4), problems),
        new Dictionary<string, string> { ["PROXY_MODE"] = "dedicated" });

    [Fact]
    public void The_environment_of_the_daemonset_is_understood()
    {
        var settings = Usable(("XDS_ADDRESS", "istiod.istio-system.svc:15012"), ("CA_ADDRESS", "istiod.istio-system.svc:15012"), ("ISTIO_META_CLUSTER_ID", "c1"), ("CLUSTER_ID", "other"),
            ("TERMINATION_GRACE_PERIOD_SECONDS", "30"), ("POD_NAME", "ztunnel-x"), ("POD_NAMESPACE", "istio-system"), ("NODE_NAME", "n1"), ("INSTANCE_IP", "10.0.0.9"),
            ("SERVICE_ACCOUNT", "ztunnel"), ("RUST_LOG", "info,ztunnel::dns=debug"), ("LOG_FORMAT", "json"), ("XDS_HEADER_X_SAMPLE", "v"));
        Assert.Equal("https://istiod.istio-system.svc:15012/", settings.XdsAddress!.ToString());
        Assert.Equal(("c1", TimeSpan.FromSeconds(25), LogLayout.Json), (settings.ClusterId, settings.TerminationDeadline, settings.LogLayout));
        Assert.Equal("ztunnel~10.0.0.9~ztunnel-x.istio-system~istio-system.svc.cluster.local", settings.NodeId);
        Assert.Equal("ztunnel-x.istio-system (ztunnel)", settings.OwnPod.ToString());
        Assert.Equal(new KeyValuePair<string, string>("x_sample", "v"), Assert.Single(settings.XdsHeaders));
    }

    [Fact]
    public void Defaults_are_those_of_the_reference()
    {
        var settings = Usable();
        Assert.Equal("https://localhost:15012/", settings.XdsAddress!.ToString());
        Assert.Equal("https://istiod.istio-system.svc:15012/", Usable(("KUBERNETES_SERVICE_HOST", "10.0.0.1")).CaAddress!.ToString());
        Assert.Null(Usable(("XDS_ADDRESS", "")).XdsAddress);
        Assert.Equal((1337, 100, TimeSpan.FromMinutes(5), TimeSpan.FromHours(24), TimeSpan.FromSeconds(5)),
            (settings.PacketMark, settings.PoolMaxStreamsPerConnection, settings.PoolUnusedReleaseTimeout, settings.SecretTtl, settings.TerminationDeadline));
        Assert.Null(settings.OwnPod);
    }

    [Theory]
    [InlineData("8", null, 7)]
    [InlineData("1", null, 1)]
    [InlineData("30", null, 25)]
    [InlineData("30", "3s", 3)]
    public void The_drain_ends_before_the_pod_is_killed(string grace, string? deadline, int seconds) =>
        Assert.Equal(TimeSpan.FromSeconds(seconds), Usable([("TERMINATION_GRACE_PERIOD_SECONDS", grace), .. deadline is null ? Array.Empty<(string, string)>() : [("CONNECTION_TERMINATION_DEADLINE", deadline)]]).TerminationDeadline);

    [Fact]
    public void All_problems_are_told_together_and_each_names_its_variable()
    {
        Read(out var problems, ("XDS_ADDRESS", "http://x"), ("KEEPALIVE_TIME", "10"), ("IPV6_ENABLED", "maybe"), ("PACKET_MARK", "99999"), ("LOG_FORMAT", "xml"), ("RUST_LOG", "loud"), ("ISTIO_METAJSON_X", "{"), ("PROXY_MODE", "both"));
        foreach (var name in (string[])["XDS_ADDRESS", "KEEPALIVE_TIME", "IPV6_ENABLED", "PACKET_MARK", "LOG_FORMAT", "RUST_LOG", "ISTIO_METAJSON_X", "PROXY_MODE"])
            Assert.Single(problems, p => p.StartsWith(name, StringComparison.Ordinal));
        Assert.Equal(8, problems.Count);
    }

    [Theory]
    [InlineData("COMPLIANCE_POLICY", "pqc")]
    [InlineData("FAKE_CA", "true")]
    [InlineData("TLS12_ENABLED", "true")]
    [InlineData("XDS_ON_DEMAND", "true")]
    [InlineData("LOCAL_XDS", "x")]
    public void A_setting_that_would_not_be_honoured_stops_the_start(string name, string value)
    {
        Read(out var problems, (name, value));
        Assert.StartsWith(name, Assert.Single(problems));
    }

    [Fact]
    public void A_missing_token_file_is_named()
    {
        SettingsReader.Read(new Dictionary<string, string> { ["AUTH_TOKEN"] = "/no/token" }, _ => false, out var problems);
        Assert.Equal("AUTH_TOKEN names /no/token, which is no file.", Assert.Single(problems));
    }

    [Fact]
    public void Missing_capabilities_are_named_with_their_purpose()
    {
        Assert.Empty(Prerequisites.Missing("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        var missing = Prerequisites.Missing("CapEff:\t0000000000001000\n").ToArray();
        Assert.Equal(2, missing.Length);
        Assert.Contains("SYS_ADMIN", missing[1]);
        Assert.Single(Prerequisites.Missing("nothing"));
    }
}
