using System.Text.Json.Nodes;
using AmbientMesh.Cni.Node;
using AmbientMesh.Cni.Node.Installation;
using AmbientMesh.Kubernetes;
using AmbientMesh.Telemetry;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.Cni.Tests.Agent;

/// <summary>Plugin, kubeconfig and stanza on the node: put there, kept there, taken away at the right end.</summary>
public sealed class InstallationTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("cni-install-").FullName;
    private readonly AgentSettings _settings;

    public InstallationTests()
    {
        foreach (var sub in (string[])["net.d", "bin", "run"]) Directory.CreateDirectory(Path.Combine(_folder, sub));
        File.WriteAllText(Path.Combine(_folder, "image-plugin"), "plugin v1");
        _settings = new AgentSettings
        {
            NodeName = "n",
            CniConfigFolder = Path.Combine(_folder, "net.d"),
            CniBinFolder = Path.Combine(_folder, "bin"),
            RunFolder = Path.Combine(_folder, "run"),
            PluginSource = Path.Combine(_folder, "image-plugin"),
        };
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void The_stanza_is_appended_to_the_first_list_and_everything_is_private()
    {
        Write("20-other.conflist", """{"name":"other","plugins":[{"type":"x"}]}""");
        Write("10-net.conflist", """{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge"},{"type":"portmap"}]}""");
        var installation = Make();
        installation.Ensure();
        Assert.Null(installation.Problem);
        var plugins = Read("10-net.conflist")["plugins"]!.AsArray();
        Assert.Equal(["bridge", "portmap", "istio-cni"], plugins.Select(plugin => (string?)plugin!["type"]));
        Assert.Equal("kube-system", (string?)plugins[2]!["exclude_namespaces"]![0]);
        Assert.Equal(2, plugins[2]!["enablement_selectors"]!.AsArray().Count);
        Assert.Single(Read("20-other.conflist")["plugins"]!.AsArray());
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Net("10-net.conflist")));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(_settings.KubeconfigPath));
        Assert.Equal("plugin v1", File.ReadAllText(Path.Combine(_folder, "bin/istio-cni")));
        Assert.True(File.GetUnixFileMode(Path.Combine(_folder, "bin/istio-cni")).HasFlag(UnixFileMode.UserExecute));
    }

    [Fact]
    public void A_single_plugins_file_becomes_a_list()
    {
        Write("10-net.conf", """{"cniVersion":"0.4.0","name":"mynet","type":"bridge"}""");
        Make().Ensure();
        Assert.False(File.Exists(Net("10-net.conf")));
        var list = Read("10-net.conflist");
        Assert.Equal(("k8s-pod-network", "0.4.0"), ((string?)list["name"], (string?)list["cniVersion"]));
        Assert.Equal(["bridge", "istio-cni"], list["plugins"]!.AsArray().Select(plugin => (string?)plugin!["type"]));
        Assert.Null(list["plugins"]![0]!["cniVersion"]);
    }

    [Fact]
    public void What_somebody_else_rewrites_is_installed_again_and_an_old_stanza_is_replaced()
    {
        Write("10-net.conflist", """{"name":"net","plugins":[{"type":"bridge"},{"type":"istio-cni","ambient_enabled":false}]}""");
        var installation = Make();
        installation.Ensure();
        Assert.Equal(["bridge", "istio-cni"], Read("10-net.conflist")["plugins"]!.AsArray().Select(plugin => (string?)plugin!["type"]));
        Assert.True((bool)Read("10-net.conflist")["plugins"]![1]!["ambient_enabled"]!);
        var written = File.GetLastWriteTimeUtc(Net("10-net.conflist"));
        installation.Ensure();
        Assert.Equal(written, File.GetLastWriteTimeUtc(Net("10-net.conflist")));

        Write("10-net.conflist", """{"name":"net","plugins":[{"type":"newer"}]}""");
        File.Delete(Path.Combine(_folder, "bin/istio-cni"));
        File.Delete(_settings.KubeconfigPath);
        installation.Ensure();
        Assert.Equal(["newer", "istio-cni"], Read("10-net.conflist")["plugins"]!.AsArray().Select(plugin => (string?)plugin!["type"]));
        Assert.True(File.Exists(Path.Combine(_folder, "bin/istio-cni")) && File.Exists(_settings.KubeconfigPath));
    }

    [Fact, Scenario("L4-169")]
    public void A_folder_that_is_missing_is_named_and_the_installation_heals_when_it_is_there()
    {
        Directory.Delete(Path.Combine(_folder, "net.d"));
        var registry = new MetricRegistry();
        var installation = Make(registry: registry);
        installation.Ensure();
        Assert.Contains("net.d", installation.Problem);
        Assert.Contains("istio_cni_install_ready 0", MetricExposition.Write(registry, MetricFormat.Prometheus));
        Directory.CreateDirectory(Path.Combine(_folder, "net.d"));
        installation.Ensure();
        Assert.Contains("No CNI configuration", installation.Problem);
        Write("10-net.conflist", """{"name":"net","plugins":[{"type":"bridge"}]}""");
        installation.Ensure();
        Assert.Null(installation.Problem);
        var metrics = MetricExposition.Write(registry, MetricFormat.Prometheus);
        Assert.Contains("istio_cni_install_ready 1", metrics);
        Assert.Contains("result=\"SUCCESS\"", metrics);
        Assert.Contains("result=\"CREATE_CNI_CONFIG_FAILURE\"", metrics);
    }

    [Theory]
    [InlineData("{")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("""{"name":"a","name":"b","plugins":[{"type":"bridge"}]}""")]
    [InlineData("""{"name":"a","plugins":[{"type":"bridge","type":"other"}]}""")]
    public void A_configuration_that_is_none_is_named_and_left_as_it_is(string text)
    {
        Write("10-net.conflist", text);
        var installation = Make();
        installation.Ensure();
        Assert.Contains("10-net.conflist", installation.Problem);
        Assert.Equal(text, File.ReadAllText(Net("10-net.conflist")));
    }

    [Fact]
    public void An_owned_list_leaves_the_original_untouched()
    {
        Write("10-net.conflist", """{"name":"net","plugins":[{"type":"bridge"}]}""");
        var installation = Make(_settings with { OwnsConfig = true });
        installation.Ensure();
        Assert.Single(Read("10-net.conflist")["plugins"]!.AsArray());
        Assert.Equal(2, Read("02-istio-cni.conflist")["plugins"]!.AsArray().Count);
        installation.Remove();
        Assert.False(File.Exists(Net("02-istio-cni.conflist")));
    }

    [Fact]
    public void Without_chaining_a_file_of_its_own_is_written()
    {
        Make(_settings with { Chained = false }).Ensure();
        Assert.Equal(("0.3.1", "istio-cni"), ((string?)Read("YYY-istio-cni.conf")["cniVersion"], (string?)Read("YYY-istio-cni.conf")["type"]));
    }

    [Fact, Scenario("L4-167")]
    public void Removal_takes_everything_and_only_our_own()
    {
        Write("10-net.conflist", """{"name":"net","plugins":[{"type":"bridge"}]}""");
        var installation = Make();
        installation.Ensure();
        installation.Remove();
        Assert.Equal(["bridge"], Read("10-net.conflist")["plugins"]!.AsArray().Select(plugin => (string?)plugin!["type"]));
        Assert.Empty(Directory.EnumerateFiles(Path.Combine(_folder, "bin")));
        Assert.False(File.Exists(_settings.KubeconfigPath));
    }

    [Fact, Scenario("L4-167")]
    public async Task An_agent_whose_daemonset_is_deleted_cleans_the_node_and_leaves_running_pods_enrolled()
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("demo", "ambient");
        var pod = await node.PodAsync("demo", "web");
        var agent = await node.StartAgentAsync();
        using var ztunnel = await Ztunnel.FakeZtunnel.ConnectAsync(node.ZdsSocket);
        await EnrolmentTests.TakeUntilEnabledAsync(node, ztunnel, pod);
        Assert.Contains("istio-cni", await File.ReadAllTextAsync(Path.Combine(node.ConfigFolder, "10-bridge.conflist"), Patience.Token));

        node.Api.Store.Delete(new Lab.Api.Objects.GroupResource("apps", "daemonsets"), "istio-system", "istio-cni-node", Lab.Api.Storage.DeleteOptions.Now);
        await agent.StopAsync();
        Assert.DoesNotContain("istio-cni", await File.ReadAllTextAsync(Path.Combine(node.ConfigFolder, "10-bridge.conflist"), Patience.Token));
        Assert.Empty(Directory.EnumerateFiles(node.BinFolder));
        Assert.DoesNotContain("ISTIO", await node.ShAsync(node.Host, "iptables-nft-save"));
        Assert.Empty(await node.ShAsync(node.Host, "ipset list -n"));
        Assert.Equal(Cni.Node.Redirection.RedirectionState.Intact, await node.RulesAsync(pod));
        Assert.Equal("enabled", node.Annotation(pod));
    }

    [Theory]
    [InlineData("""{"metadata":{}}""", false)]
    [InlineData("null", true)]
    [InlineData("""{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"}}""", true)]
    [InlineData("""{"spec":{"template":{"spec":{"nodeSelector":{"pool":"a"}}}}}""", false)]
    [InlineData("""{"spec":{"template":{"spec":{"nodeSelector":{"pool":"b"}}}}}""", true)]
    [InlineData("""{"spec":{"template":{"spec":{"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"pool","operator":"NotIn","values":["a"]}]}]}}}}}}}""", true)]
    public void An_ending_agent_cleans_up_when_its_daemonset_leaves_the_node(string daemonSet, bool cleansUp) =>
        Assert.Equal(cleansUp, ShutdownDecision.Decide(_settings, JsonNode.Parse(daemonSet) as JsonObject, null, new Dictionary<string, string> { ["pool"] = "a" }).CleansUp);

    [Fact]
    public void An_ending_agent_that_cannot_ask_leaves_the_node_closed_and_one_without_rights_cleans_up()
    {
        Assert.False(ShutdownDecision.Decide(_settings, null, new KubernetesUnavailableException("down", null, new Status(), null), null).CleansUp);
        Assert.True(ShutdownDecision.Decide(_settings, null, new KubernetesRefusedException("no", System.Net.HttpStatusCode.Forbidden, new Status()), null).CleansUp);
        Assert.True(ShutdownDecision.Decide(_settings with { DisableSafeUpgrade = true }, [], null, null).CleansUp);
    }

    private PluginInstallation Make(AgentSettings? settings = null, MetricRegistry? registry = null) =>
        new(settings ?? _settings, () => PluginKubeconfig.For(new Uri("https://10.96.0.1:443"), null, "token"), new AgentMetrics(registry ?? new MetricRegistry(), () => 0, () => 0, () => 0), TimeProvider.System, NullLogger.Instance);

    private string Net(string file) => Path.Combine(_folder, "net.d", file);
    private void Write(string file, string text) => File.WriteAllText(Net(file), text);
    private JsonObject Read(string file) => (JsonObject)JsonNode.Parse(File.ReadAllText(Net(file)))!;
}
