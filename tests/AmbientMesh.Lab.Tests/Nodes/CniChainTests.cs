using System.Text.Json.Nodes;
using AmbientMesh.Lab.Nodes;

namespace AmbientMesh.Lab.Tests.Nodes;

/// <summary>Our calls against those a real runtime made (samples, kubelet/cni-calls and cni-failure).</summary>
public sealed class CniChainTests
{
    private const string Uid = "cad6bfa3-9570-4ef2-96b8-c1e45d2537e1";

    [Fact]
    public void A_call_for_a_plain_pod_has_the_recorded_environment()
    {
        var recorded = Section("## ADD for a plain pod").Where(l => l.StartsWith("CNI_", StringComparison.Ordinal)).ToDictionary(l => l.Split('=', 2)[0], l => l.Split('=', 2)[1]);
        var ours = CniChain.Environment("ADD", PlainPod(recorded["CNI_CONTAINERID"], recorded["CNI_NETNS"]));
        Assert.Equal(recorded["CNI_ARGS"].Split(';').Order(), ours["CNI_ARGS"].Split(';').Order());
        foreach (var name in recorded.Keys.Where(k => k != "CNI_ARGS")) Assert.Equal(recorded[name], ours[name]);
        Assert.Equal(recorded.Keys.Order(), ours.Keys.Order());
    }

    [Fact]
    public void A_call_for_a_plain_pod_has_the_recorded_standard_input()
    {
        var recorded = Input("## ADD for a plain pod");
        var seen = recorded["runtimeConfig"]!["io.kubernetes.cri.pod-annotations"]!.AsObject();
        var sandbox = PlainPod("id", "/var/run/netns/x") with { Annotations = seen.ToDictionary(a => a.Key, a => (string)a.Value!) };
        var ours = CniChain.Input(RecordedList(), RecordedList().Plugins[^1], sandbox, recorded["prevResult"]!.AsObject());
        AssertSame(recorded, ours);
    }

    [Fact]
    public void A_later_DEL_has_the_recorded_standard_input_without_a_previous_result()
    {
        var recorded = Input("## a later DEL of the same sandbox");
        var ours = CniChain.Input(RecordedList(), RecordedList().Plugins[^1], PlainPod("id", "") with
        {
            PodUid = "cff7d351-652a-4c5c-bf2b-55cfe979f16b",
            CgroupPath = "/kubepods/besteffort/podcff7d351-652a-4c5c-bf2b-55cfe979f16b",
            Annotations = new Dictionary<string, string> { ["kubernetes.io/config.seen"] = "2026-11-21T01:14:07.267477196Z", ["kubernetes.io/config.source"] = "api" },
        }, null);
        AssertSame(recorded, ours);
    }

    [Fact]
    public void A_host_port_is_told_only_to_plugins_that_map_ports()
    {
        var sandbox = PlainPod("id", "") with { PortMappings = [new PortMapping(18888, 8080, "TCP", "")] };
        var list = RecordedList();
        var toBridge = CniChain.Input(list, list.Plugins[0], sandbox, null);
        var toPortmap = CniChain.Input(list, list.Plugins[1], sandbox, null);
        Assert.Null(toBridge["runtimeConfig"]);
        Assert.Equal("""[{"HostPort":18888,"ContainerPort":8080,"Protocol":"tcp","HostIP":""}]""", toPortmap["runtimeConfig"]!["portMappings"]!.ToJsonString());
        Assert.Single(toPortmap["runtimeConfig"]!.AsObject());
    }

    [Theory]
    [InlineData(1, """{"cniVersion":"1.0.0","code":103,"msg":"mesh enrolment refused","details":"node agent said: no identity for this pod"}""", "p-failjson")]
    [InlineData(7, "not json on stdout\n", "p-failtext")]
    [InlineData(1, "", "p-failempty")]
    public void A_failed_plugin_is_quoted_as_the_recorded_event_does(int exitCode, string output, string pod)
    {
        var text = Samples.Text("samples/kubernetes/kubelet/cni-failure.txt");
        var section = text[text.IndexOf($"## {pod}:", StringComparison.Ordinal)..];
        var line = section.Split('\n').First(l => l.Contains("failed (add): ", StringComparison.Ordinal));
        Assert.Equal(line[(line.IndexOf("failed (add): ", StringComparison.Ordinal) + "failed (add): ".Length)..].TrimEnd(), CniChain.Diagnosis(new CommandResult(exitCode, output, "")));
    }

    [Fact]
    public void The_first_usable_file_in_name_order_counts_and_broken_ones_are_passed_over()
    {
        var folder = Directory.CreateTempSubdirectory("cni-").FullName;
        try
        {
            Assert.Null(CniConfigurationList.Load(folder));
            File.WriteAllText($"{folder}/00-broken.conflist", "{ not json");
            File.WriteAllText($"{folder}/05-empty.conflist", """{"cniVersion":"1.0.0","name":"empty","plugins":[]}""");
            File.WriteAllText($"{folder}/06-nameless.conf", """{"cniVersion":"1.0.0","type":"bridge"}""");
            File.WriteAllText($"{folder}/20-second.conflist", """{"cniVersion":"1.0.0","name":"second","plugins":[{"type":"bridge"}]}""");
            File.WriteAllText($"{folder}/10-first.conf", """{"cniVersion":"0.4.0","name":"first","type":"bridge"}""");
            File.WriteAllText($"{folder}/01-note.txt", """{"cniVersion":"1.0.0","name":"note","plugins":[{"type":"bridge"}]}""");
            Assert.Equal(("first", "0.4.0"), (CniConfigurationList.Load(folder)!.Name, CniConfigurationList.Load(folder)!.CniVersion));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static CniSandbox PlainPod(string id, string networkNamespace) => new(
        id, "demo", "web-69775b98df-njwtc", Uid, networkNamespace, $"/kubepods/besteffort/pod{Uid}", new Dictionary<string, string>(), [], ["10.96.0.10"],
        ["demo.svc.cluster.local", "svc.cluster.local", "cluster.local"]);

    private static CniConfigurationList RecordedList()
    {
        var text = Samples.Text("samples/kubernetes/kubelet/cni-calls.txt");
        var start = text.IndexOf("{\"cniVersion\"", StringComparison.Ordinal);
        return CniConfigurationList.Parse(text[start..(text.IndexOf("]}", text.IndexOf("sample-log", start, StringComparison.Ordinal), StringComparison.Ordinal) + 2)])!;
    }

    private static IEnumerable<string> Section(string heading)
    {
        var text = Samples.Text("samples/kubernetes/kubelet/cni-calls.txt");
        return text[text.IndexOf(heading, StringComparison.Ordinal)..].Split('\n').Skip(1).TakeWhile(l => !l.StartsWith("## ", StringComparison.Ordinal));
    }

    private static JsonObject Input(string heading)
    {
        var body = string.Join('\n', Section(heading).SkipWhile(l => l != "--- stdin:").Skip(1).TakeWhile(l => !l.StartsWith("all ", StringComparison.Ordinal) && !l.StartsWith("host-", StringComparison.Ordinal)));
        return JsonNode.Parse(body)!.AsObject();
    }

    private static void AssertSame(JsonObject expected, JsonObject actual) => Assert.True(JsonNode.DeepEquals(expected, actual), $"expected {expected.ToJsonString()}\nactual   {actual.ToJsonString()}");
}
