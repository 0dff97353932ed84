using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Network;
using AmbientMesh.Lab.Nodes;
using YamlDotNet.RepresentationModel;

namespace AmbientMesh.Lab.Tests.Nodes;

/// <summary>What a container is given, against what a real kubelet gave (samples, kubelet/inside-a-container).</summary>
public sealed class ContainerEnvironmentTests
{
    [Fact]
    public void The_recorded_pod_gets_the_recorded_environment()
    {
        var recorded = Recorded("env | sort").Split('\n').Where(l => l.Contains('=')).ToDictionary(l => l.Split('=', 2)[0], l => l.Split('=', 2)[1]);
        foreach (var shell in (string[])["PWD", "SHLVL"]) recorded.Remove(shell);
        var ours = ContainerEnvironment.Build(Pod(), Pod().Containers().First(), new FactsWorld()).ToDictionary(e => e.Key, e => e.Value);
        // The recorded shell does not show names it cannot hold, nor lines after the first.
        ours.Remove("CM_BAD-KEY");
        ours.Remove("CM_app.conf");
        Assert.Equal(recorded.OrderBy(e => e.Key, StringComparer.Ordinal), ours.OrderBy(e => e.Key, StringComparer.Ordinal));
    }

    [Fact]
    public void Arguments_are_expanded_as_recorded()
    {
        var environment = ContainerEnvironment.Build(Pod(), Pod().Containers().First(), new FactsWorld());
        Assert.Equal(["one $(NOPE) $(A)"], ContainerEnvironment.Expand(Pod().Containers().First().Texts("args"), environment));
    }

    [Fact]
    public void The_hosts_file_is_the_recorded_one() => Assert.Equal(Recorded("cat /etc/hosts"), PodEtcFiles.Hosts(Pod(), ["10.244.0.114"]).TrimEnd('\n'));

    [Fact]
    public void The_resolver_file_is_the_recorded_one() => Assert.Equal(Recorded("cat /etc/resolv.conf"), PodEtcFiles.ResolvConf(Pod(), "nameserver 9.9.9.9\n").TrimEnd('\n'));

    [Fact]
    public void A_pod_in_the_nodes_network_resolves_as_the_node_does_unless_it_asks_for_the_cluster()
    {
        var pod = Pod();
        pod.Ensure("spec")["hostNetwork"] = true;
        Assert.Equal("nameserver 9.9.9.9\n", PodEtcFiles.ResolvConf(pod, "nameserver 9.9.9.9\n"));
        pod.Ensure("spec")["dnsPolicy"] = "ClusterFirstWithHostNet";
        Assert.Contains("nameserver 10.96.0.10", PodEtcFiles.ResolvConf(pod, "nameserver 9.9.9.9\n"));
        Assert.Contains("nameserver fd00:10:96::a", PodEtcFiles.ResolvConf(pod, "nameserver 9.9.9.9\n", AddressFamilies.Ipv6));
    }

    [Fact]
    public void Without_ipv4_pods_get_one_address_and_one_way_out()
    {
        var list = NodeNetworkConfiguration.List(3, AddressFamilies.Ipv6).ToJsonString();
        Assert.Contains("""[{"subnet":"fd00:10:244:3::/64"}]""", list);
        Assert.Contains("""[{"dst":"::/0"}]""", list);
        Assert.DoesNotContain("10.244", list);
        Assert.Contains("10.244.3.0/24", NodeNetworkConfiguration.List(3, AddressFamilies.Dual).ToJsonString());
    }

    [Fact]
    public void A_required_source_that_is_missing_is_named()
    {
        var container = JsonNode.Parse("""{"name":"c","envFrom":[{"configMapRef":{"name":"missing"}}]}""")!.AsObject();
        var refused = Assert.Throws<ContainerConfigurationException>(() => ContainerEnvironment.Build(Pod(), container, new FactsWorld()));
        Assert.Equal("configmap \"missing\" not found", refused.Message);
    }

    private static string Recorded(string command)
    {
        var text = Samples.Text("samples/kubernetes/kubelet/inside-a-container.txt");
        var start = text.IndexOf($"$ {command}\n", StringComparison.Ordinal) + command.Length + 3;
        return text[start..text.IndexOf("\n\n$ ", start, StringComparison.Ordinal)].TrimEnd('\n').Replace("\n\n\n", "\n\n");
    }

    private static JsonObject Pod()
    {
        var text = Samples.Text("samples/kubernetes/kubelet/inside-a-container.txt");
        var yaml = text[text.IndexOf("apiVersion: v1", StringComparison.Ordinal)..text.IndexOf("\n\n\n=====", StringComparison.Ordinal)];
        var stream = new YamlStream();
        stream.Load(new StringReader(yaml));
        var pod = Json(stream.Documents[0].RootNode)!.AsObject();
        var metadata = pod.Ensure("metadata");
        (metadata["namespace"], metadata["uid"]) = ("facts", "890c1f1e-ab4f-4653-87a5-2a1012907950");
        pod.Ensure("spec")["nodeName"] = "node-1";
        pod["status"] = JsonNode.Parse("""{"hostIP":"10.10.0.2","podIP":"10.244.0.114","podIPs":[{"ip":"10.244.0.114"}]}""");
        return pod;
    }

    private static JsonNode? Json(YamlNode node) => node switch
    {
        YamlMappingNode map => new JsonObject(map.Children.Select(c => KeyValuePair.Create(((YamlScalarNode)c.Key).Value!, Json(c.Value)))),
        YamlSequenceNode list => new JsonArray([.. list.Children.Select(Json)]),
        YamlScalarNode { Style: YamlDotNet.Core.ScalarStyle.Plain } scalar when long.TryParse(scalar.Value, out var number) => JsonTree.Number(number),
        YamlScalarNode { Style: YamlDotNet.Core.ScalarStyle.Plain, Value: "true" or "false" } scalar => scalar.Value == "true",
        YamlScalarNode scalar => scalar.Value,
        _ => null,
    };

    private sealed class FactsWorld : IEnvironmentSources
    {
        public JsonObject? ConfigMap(string ns, string name) => name == "settings"
            ? JsonNode.Parse("""{"data":{"color":"red","app.conf":"a=1\nb=2\n","BAD-KEY":"x"}}""")!.AsObject()
            : null;

        public JsonObject? Secret(string ns, string name) => name == "creds" ? JsonNode.Parse("""{"data":{"user":"dQ==","pass":"cA=="}}""")!.AsObject() : null;

        public IEnumerable<JsonObject> Services(string ns) => ns == "default"
            ? [JsonNode.Parse("""{"metadata":{"name":"kubernetes","namespace":"default"},"spec":{"clusterIP":"10.96.0.1","ports":[{"name":"https","port":443,"protocol":"TCP"}]}}""")!.AsObject()]
            : [JsonNode.Parse("""{"metadata":{"name":"my-svc","namespace":"facts"},"spec":{"clusterIP":"10.96.100.100","ports":[{"name":"http","port":80},{"name":"grpc-web","port":9090}]}}""")!.AsObject()];

        public JsonObject? Node(string name) => JsonNode.Parse("""{"status":{"allocatable":{"cpu":"2","memory":"24479292Ki"}}}""")!.AsObject();
    }
}
