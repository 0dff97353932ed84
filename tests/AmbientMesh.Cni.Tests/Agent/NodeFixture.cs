using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using AmbientMesh.Cni.Node;
using AmbientMesh.Cni.Node.Enrollment;
using AmbientMesh.Cni.Node.Redirection;
using AmbientMesh.Kubernetes;
using AmbientMesh.Lab.Api.Http;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Linux;

namespace AmbientMesh.Cni.Tests.Agent;

/// <summary>
/// One node for one test: namespaces for the node and its pods, a process table that shows them, the lab's API server with the RBAC of
/// <c>deploy/cni</c>, and the agent running against all that.
/// </summary>
internal sealed class NodeFixture : IAsyncDisposable
{
    public const string NodeName = "node-a";
    public static readonly GroupResource Pods = new("", "pods"), Namespaces = new("", "namespaces"), Events = new("", "events");

    private readonly List<TestPod> _pods = [];
    private int _processId = 1000;

    private NodeFixture(ApiServer api)
    {
        Api = api;
        Host = NetworkNamespace.Create();
        Folder = Directory.CreateTempSubdirectory("cni-agent-").FullName;
    }

    public ApiServer Api { get; }
    public NetworkNamespace Host { get; }
    public string Folder { get; }
    public RunningAgent? Agent { get; private set; }

    public string Proc => Path.Combine(Folder, "proc");
    public string ConfigFolder => Path.Combine(Folder, "net.d");
    public string BinFolder => Path.Combine(Folder, "bin");
    public string ZdsSocket => Path.Combine(Folder, "ztunnel.sock");

    public static async Task<NodeFixture> CreateAsync()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "Network namespaces need root.");
        var api = new ApiServer(new ApiServerOptions(), TimeProvider.System);
        await api.StartAsync(Patience.Token);
        var node = new NodeFixture(api);
        await node.ShAsync(node.Host, "ip link set lo up; sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        node.ShowProcess(1, "init", "0::/init.scope", node.Host);
        foreach (var folder in (string[])[node.ConfigFolder, node.BinFolder]) Directory.CreateDirectory(folder);
        await File.WriteAllTextAsync(Path.Combine(node.ConfigFolder, "10-bridge.conflist"), """{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge"}]}""", Patience.Token);
        node.Create(Namespaces, """{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"istio-system"}}""");
        node.Create(new GroupResource("", "nodes"), $$"""{"apiVersion":"v1","kind":"Node","metadata":{"name":"{{NodeName}}","labels":{"kubernetes.io/os":"linux"} } }""");
        foreach (var file in (string[])["serviceaccount.yaml", "rbac.yaml", "daemonset.yaml"]) node.Apply(Path.Combine(Samples.Root, "deploy/cni", file));
        return node;
    }

    /// <summary>Starts the agent with the ServiceAccount's rights; an earlier one has ended.</summary>
    public async Task<RunningAgent> StartAgentAsync(Func<AgentSettings, AgentSettings>? change = null, TimeProvider? clock = null)
    {
        var settings = Settings();
        Agent = await RunningAgent.StartAsync(change?.Invoke(settings) ?? settings, Connection(), clock);
        return Agent;
    }

    public AgentSettings Settings() => new()
    {
        Leaving = new LeaveTimes(TimeSpan.FromMilliseconds(300), TimeSpan.FromMilliseconds(300)),
        NodeName = NodeName,
        SwitchesToHostNamespace = true,
        HostProc = Proc,
        HostRoot = Path.Combine(Folder, "host"),
        RunFolder = Folder,
        ZdsSocket = ZdsSocket,
        CniConfigFolder = ConfigFolder,
        CniBinFolder = BinFolder,
        PluginSource = PluginProcess.Executable,
        HealthPort = 0,
        MonitoringPort = 0,
    };

    public KubernetesConnection Connection()
    {
        var authorities = new X509Certificate2Collection();
        authorities.ImportFromPem(Api.Certificates.AuthorityPem);
        var (token, _) = Api.Tokens.Issue("istio-system", "istio-cni", [], TimeSpan.FromHours(1));
        return new KubernetesConnection { Server = new Uri($"https://{Api.Addresses[0]}"), Authorities = authorities, Token = BearerToken.Fixed(token) };
    }

    public void Namespace(string name, string? mode = null) =>
        Create(Namespaces, $$"""{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"{{name}}","labels":{{Mode(mode)}} } }""");

    public void LabelNamespace(string name, string? mode) => Api.Store.Modify(Namespaces, "", name, o => SetLabel(o, mode));

    public void LabelPod(TestPod pod, string? mode) => Api.Store.Modify(Pods, pod.Key.Namespace, pod.Key.Name, o => SetLabel(o, mode));

    /// <summary>Sets an annotation; null takes it off.</summary>
    public void Annotate(TestPod pod, string name, string? value) => Api.Store.Modify(Pods, pod.Key.Namespace, pod.Key.Name, o => Set(o.Ensure("metadata", "annotations"), name, value));

    /// <inheritdoc cref="Annotate(TestPod, string, string?)"/>
    public void AnnotateNamespace(string ns, string name, string? value) => Api.Store.Modify(Namespaces, "", ns, o => Set(o.Ensure("metadata", "annotations"), name, value));

    /// <summary>A pod object, and unless <paramref name="runs"/> is false its namespaces and process.</summary>
    public async Task<TestPod> PodAsync(string ns, string name, string? mode = null, string annotations = "{}", string spec = "", bool runs = true)
    {
        var number = _pods.Count + 2;
        Create(new GroupResource("", "serviceaccounts"), $$"""{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"{{name}}-sa","namespace":"{{ns}}"} }""");
        var created = Create(Pods, $$"""
            {"apiVersion":"v1","kind":"Pod","metadata":{"name":"{{name}}","namespace":"{{ns}}","labels":{{Mode(mode)}},"annotations":{{annotations}} },
             "spec":{ {{spec}}"nodeName":"{{NodeName}}","serviceAccountName":"{{name}}-sa","containers":[{"name":"app","image":"app"}]} }
            """);
        var pod = new TestPod(new ObjectKey(ns, name), (string)created["metadata"]!["uid"]!, NetworkNamespace.Create(), IPAddress.Parse($"10.77.0.{number}"), IPAddress.Parse($"fd77::{number}"));
        _pods.Add(pod);
        await ConnectAsync(pod, number);
        if (!runs) return pod;
        ShowProcess(++_processId, "pause", $"0::/kubepods/besteffort/pod{pod.Uid}/pause", pod.Inside);
        SetRunning(pod);
        return pod;
    }

    /// <summary>What a kubelet writes once the sandbox is there.</summary>
    public void SetRunning(TestPod pod) => SetStatus(pod, "Running", pod.V4, pod.V6);

    public void SetStatus(TestPod pod, string phase, params IPAddress[] addresses) => Api.Store.ModifyStatus(Pods, pod.Key.Namespace, pod.Key.Name, o =>
    {
        var status = o.Ensure("status");
        status["phase"] = phase;
        if (addresses.Length > 0) status["podIP"] = addresses[0].ToString();
        if (addresses.Length > 0) status["podIPs"] = new JsonArray([.. addresses.Select(address => (JsonNode)new JsonObject { ["ip"] = address.ToString() })]);
    });

    public void DeletePod(TestPod pod) => Api.Store.Delete(Pods, pod.Key.Namespace, pod.Key.Name, Lab.Api.Storage.DeleteOptions.Now);

    /// <summary>Puts the pod's process into the table the agent sees.</summary>
    public void ShowProcess(TestPod pod) => ShowProcess(++_processId, "pause", $"0::/kubepods/pod{pod.Uid}/pause", pod.Inside);

    /// <summary>Takes all pods' processes out of the table.</summary>
    public void HideProcesses()
    {
        foreach (var process in Directory.GetDirectories(Proc).Where(folder => Path.GetFileName(folder) != "1")) Directory.Delete(process, recursive: true);
    }

    public string? Annotation(TestPod pod) => (string?)Api.Store.TryGet(Pods, pod.Key.Namespace, pod.Key.Name)?["metadata"]?["annotations"]?["ambient.istio.io/redirection"];

    public Task AnnotatedAsync(TestPod pod, string? value) =>
        UntilAsync(Pods, pod.Key.Namespace, () => Annotation(pod) == value, () => $"{pod.Key} is annotated {Annotation(pod) ?? "not at all"}, expected {value ?? "nothing"}; {Agent?.LastLines}");

    /// <summary>Completes with the message of the first Event of that reason about an object of that name.</summary>
    public async Task<string> EventAsync(string name, string reason)
    {
        string? message = null;
        await UntilAsync(Events, null, () => (message = Find()) is not null, () => $"no Event {reason} about {name}; {Agent?.LastLines}");
        return message!;

        string? Find() => Api.Store.List(Events).Items
            .Where(e => (string?)e["reason"] == reason && (string?)e["involvedObject"]?["name"] == name)
            .Select(e => (string?)e["message"]).FirstOrDefault();
    }

    public async Task<RedirectionState> RulesAsync(TestPod pod, PodRedirectOptions? options = null, string backend = "iptables-nft") =>
        await Redirection.Backends.Redirection(backend).InspectAsync(pod.Inside, options ?? Captured, Patience.Token);

    /// <summary>The rules of a pod that says nothing.</summary>
    public static PodRedirectOptions Captured { get; } = Redirection.Backends.Plain with { CapturesDns = true };

    public async Task<string[]> ExemptAsync()
    {
        var exemptions = new IpsetProbeExemptions(Host, new Linux.Netfilter.Iptables(Linux.Netfilter.IptablesVariant.Nft, Folder), Redirection.Backends.Settings);
        return [.. (await exemptions.ReadAsync(Patience.Token)).Select(entry => $"{entry.Key}={entry.Value}").Order()];
    }

    public async Task<string> ShAsync(NetworkNamespace inside, string script) =>
        (await HostProgram.RunAsync(new ProgramCall("sh", "-ec", script) { Inside = inside }, Patience.Token)).Required().Output;

    public JsonObject Create(GroupResource resource, string json) => Api.Store.Create(resource, (JsonObject)JsonNode.Parse(json)!);

    public async ValueTask DisposeAsync()
    {
        if (Agent is not null) await Agent.DisposeAsync();
        await Api.DisposeAsync();
        foreach (var pod in _pods) pod.Inside.Dispose();
        Host.Dispose();
        Directory.Delete(Folder, recursive: true);
    }

    private void Apply(string file)
    {
        foreach (var o in YamlText.ParseAll(File.ReadAllText(file)))
        {
            var resource = (string)o["kind"]! switch
            {
                "ServiceAccount" => new GroupResource("", "serviceaccounts"),
                "DaemonSet" => new GroupResource("apps", "daemonsets"),
                var kind => new GroupResource("rbac.authorization.k8s.io", kind.ToLowerInvariant() + "s"),
            };
            Api.Store.Create(resource, o);
        }
    }

    // Completes on the store's own change events.
    private async Task UntilAsync(GroupResource resource, string? ns, Func<bool> holds, Func<string> otherwise)
    {
        using var watch = Api.Store.Watch(resource, new Lab.Api.Storage.Selection(ns));
        try
        {
            if (holds()) return;
            await foreach (var change in watch.ReadAllAsync(Patience.Token))
                if (holds()) return;
        }
        catch (OperationCanceledException)
        {
            Assert.Fail(otherwise());
        }
    }

    private async Task ConnectAsync(TestPod pod, int number)
    {
        await ShAsync(Host, $"""
            ip link add veth{number} type veth peer name eth0 netns {pod.Inside.Path}
            ip addr add 10.77.0.1/32 dev veth{number}; ip -6 addr add fd77::1/128 dev veth{number} nodad; ip link set veth{number} up
            ip route add {pod.V4}/32 dev veth{number}; ip -6 route add {pod.V6}/128 dev veth{number}
            """);
        await ShAsync(pod.Inside, $"""
            ip link set lo up; ip addr add {pod.V4}/32 dev eth0; ip -6 addr add {pod.V6}/128 dev eth0 nodad; ip link set eth0 up
            ip route add 10.77.0.1 dev eth0; ip route add default via 10.77.0.1; ip -6 route add fd77::1 dev eth0; ip -6 route add default via fd77::1
            """);
    }

    private void ShowProcess(int id, string name, string cgroup, NetworkNamespace inside)
    {
        var folder = Path.Combine(Proc, $"{id}");
        Directory.CreateDirectory(Path.Combine(folder, "ns"));
        File.WriteAllText(Path.Combine(folder, "stat"), $"{id} ({name}) S 1 {string.Join(' ', Enumerable.Repeat("0", 17))} {id} 0 0\n");
        File.WriteAllText(Path.Combine(folder, "cgroup"), cgroup + "\n");
        File.CreateSymbolicLink(Path.Combine(folder, "ns", "net"), inside.Path);
    }

    private static string Mode(string? mode) => mode is null ? "{}" : $$"""{"istio.io/dataplane-mode":"{{mode}}"}""";

    private static void Set(JsonObject texts, string name, string? value)
    {
        if (value is null) texts.Remove(name);
        else texts[name] = value;
    }

    private static void SetLabel(JsonObject o, string? mode)
    {
        var labels = o.Ensure("metadata", "labels");
        if (mode is null) labels.Remove("istio.io/dataplane-mode");
        else labels["istio.io/dataplane-mode"] = mode;
    }
}

/// <summary>A pod of the test's node.</summary>
internal sealed record TestPod(ObjectKey Key, string Uid, NetworkNamespace Inside, IPAddress V4, IPAddress V6);
