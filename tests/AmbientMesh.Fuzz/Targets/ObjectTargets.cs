using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.Cni.Node.Enrollment;
using AmbientMesh.ControlPlane.Collections;
using AmbientMesh.ControlPlane.Settings;
using AmbientMesh.ControlPlane.Translation;
using AmbientMesh.Kubernetes;
using AmbientMesh.Model;
using AmbientMesh.Model.Decoding;
using AmbientMesh.Ztunnel.Configuration;

namespace AmbientMesh.Fuzz.Targets;

/// <summary>What the API server may send: events of a watch, lists, errors.</summary>
public sealed class KubernetesJsonTarget : FuzzTarget
{
    public override string Name => "kubernetes-json";
    public override string Purpose => "watch events, objects and error answers: read, unreadable by name, or a client error; a read object survives being written";

    public override IEnumerable<byte[]> Seeds() =>
    [
        SeedBytes.Of(0, """{"type":"ADDED","object":{"kind":"Pod","metadata":{"name":"a","namespace":"b","resourceVersion":"1","labels":{"x":"y"}},"spec":{"nodeName":"n","containers":[{"name":"c","ports":[{"containerPort":1,"name":"p"}]}]},"status":{"phase":"Running","podIPs":[{"ip":"10.0.0.1"}],"conditions":[{"type":"Ready","status":"True"}]}}}"""),
        SeedBytes.Of(1, """{"type":"MODIFIED","object":{"metadata":{"name":"a","namespace":"b"},"spec":{"clusterIP":"10.0.0.1","ports":[{"port":80,"targetPort":"x"},{"port":81,"targetPort":5}]}}}"""),
        SeedBytes.Of(2, """{"type":"DELETED","object":{"metadata":{"name":"a","namespace":"b"},"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"],"conditions":{"ready":true}}],"ports":[{"port":1}]}}"""),
        SeedBytes.Of(3, """{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"5","annotations":{"k8s.io/initial-events-end":"true"}}}}"""),
        SeedBytes.Of(0, """{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old","details":{"retryAfterSeconds":1}}}"""),
        SeedBytes.Of(4, """{"kind":"Status","code":409,"message":"x"}"""),
    ];

    public override IEnumerable<byte[]> Words() => SeedBytes.Words("null", "[]", "{}", "\"\"", "[[[[[[[[", "{\"a\":{\"a\":{\"a\":", "\"metadata\":", "\"status\":", "\"creationTimestamp\":\"2020-01-01T00:00:00Z\"", "1e999", "-1", "99999999999999999999", "\\ud800", "\"deletionTimestamp\":");

    public override void Run(byte[] input)
    {
        var rest = input.AsSpan(Math.Min(1, input.Length)).ToArray();
        switch ((input.Length > 0 ? input[0] : 0) % 5)
        {
            case 0: Check<Pod>(rest); break;
            case 1: Check<Service>(rest); break;
            case 2: Check<EndpointSlice>(rest); break;
            case 3: Check<Namespace>(rest); break;
            default: Demand.That(ErrorAnswers.Read("GET /x", HttpStatusCode.Conflict, rest).Message.Length > 0, "an error says something"); break;
        }
    }

    private static void Check<T>(byte[] line) where T : KubernetesObject, IResource<T>
    {
        try
        {
            if (WatchReader.Read(line, T.Kind, "watch") is not WatchEvent<T>.Present { Object: var read }) return;
            var written = JsonSerializer.Serialize(read, KubernetesJson.Of<T>());
            Demand.Equal(written, JsonSerializer.Serialize(JsonSerializer.Deserialize(written, KubernetesJson.Of<T>())!, KubernetesJson.Of<T>()), "an object written and read");
        }
        catch (KubernetesException)
        {
            // The watch is begun anew.
        }
    }
}

/// <summary>Objects users may create, through translation to what a ztunnel takes. One object must not bring the control plane down, nor be weaker than written.</summary>
public sealed class TranslationTarget : FuzzTarget
{
    private const string Pod = """{"metadata":{"name":"p","namespace":"ns","uid":"1","resourceVersion":"1","labels":{"app":"a"}},"spec":{"nodeName":"n"},"status":{"phase":"Running","podIP":"10.0.0.1","podIPs":[{"ip":"10.0.0.1"}]}}""";

    public override string Name => "translation";
    public override string Purpose => "objects by users (policies, pods, services, slices): only that object is refused; what results is taken by a ztunnel";
    public override long MaxAllocatedBytes(int inputBytes) => (16 << 20) + (inputBytes * 8192L);

    public override IEnumerable<byte[]> Seeds() =>
    [
        SeedBytes.Of(0, """{"metadata":{"name":"a","namespace":"ns"},"spec":{"selector":{"matchLabels":{"app":"a"}},"action":"DENY","rules":[{"from":[{"source":{"principals":["*","a/*"],"ipBlocks":["10.0.0.0/8"],"notNamespaces":["b"],"serviceAccounts":["ns/a"]}}],"to":[{"operation":{"ports":["80"],"paths":["/"]}}],"when":[{"key":"source.ip","values":["1.2.3.4"]}]}]}}"""),
        SeedBytes.Of(1, """{"metadata":{"name":"a","namespace":"ns"},"spec":{"selector":{"matchLabels":{"app":"a"}},"mtls":{"mode":"STRICT"},"portLevelMtls":{"80":{"mode":"DISABLE"}}}}"""),
        SeedBytes.Of(2, """{"metadata":{"name":"s","namespace":"ns"},"spec":{"clusterIP":"10.1.0.1","clusterIPs":["10.1.0.1"],"selector":{"app":"a"},"ports":[{"port":80,"targetPort":"http","appProtocol":"http"}]}}"""),
        SeedBytes.Of(3, """{"metadata":{"name":"e","namespace":"ns","labels":{"kubernetes.io/service-name":"s"}},"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.2"]}],"ports":[{"port":8080,"name":"http"}]}"""),
        SeedBytes.Of(4, Pod.Replace("\"p\"", "\"q\"", StringComparison.Ordinal)),
    ];

    public override IEnumerable<byte[]> Words() => SeedBytes.Words("null", "[]", "{}", "\"\"", "\"*\"", "\"rules\":", "\"from\":", "\"source\":", "\"principals\":", "\"notPrincipals\":", "\"ipBlocks\":", "\"0.0.0.0/0\"", "\"10.0.0.1/99\"", "\"::/0\"", "\"ports\":", "\"70000\"", "\"mode\":", "\"STRICT\"", "\"PERMISSIVE\"", "\"action\":\"DENY\"", "\"targetRefs\":", "\"selector\":", "\"matchLabels\":", "1e99", "-1");

    public override void Run(byte[] input)
    {
        var mode = (input.Length > 0 ? input[0] : 0) % 5;
        if (UserObjects.Read(input.AsSpan(Math.Min(1, input.Length))) is not { } given || GenericKey(given) is not { } key) return;
        var failures = new List<string>();
        var graph = new CollectionGraph { TransformationFailed = (_, failed, problem) => failures.Add($"{failed}: {problem.GetType().Name} {problem.Message}") };
        var mesh = new MeshCollections(graph, new MeshScope());
        var bystander = JsonSerializer.Deserialize(Pod, KubernetesJson.Of<Pod>())!;
        graph.Apply(() => mesh.Pods.Set(bystander.Key, bystander));
        var read = true;
        graph.Apply(() => read = Set(mesh, mode, key, given));
        if (!read) return;
        Demand.That(mesh.Addresses.Items.Any(i => i.Key == "Kubernetes//Pod/ns/p"), "a bystander stays");
        Demand.That(failures.All(f => f.Contains("FormatException", StringComparison.Ordinal)), $"only what is written wrongly is refused: {string.Join("; ", failures)}");
        foreach (var (name, policy) in mesh.Authorizations.Items) Demand.That(PolicyDecoding.TryDecode(policy, out _, out var reason), $"a ztunnel takes what results: {name} {reason}");
        foreach (var (name, address) in mesh.Addresses.Items)
        {
            var reason = "";
            Demand.That(address.Message.Workload is { } workload ? AddressDecoding.TryDecode(workload, out Workload? _, out reason!) : AddressDecoding.TryDecode(address.Message.Service, out MeshService? _, out reason!), $"a ztunnel takes what results: {name} {reason}");
        }
    }

    private static bool Set(MeshCollections mesh, int mode, ObjectKey key, JsonObject given)
    {
        switch (mode)
        {
            case 0: mesh.Policies.AuthorizationPolicies.Set(key, given); return true;
            case 1: mesh.Policies.PeerAuthentications.Set(key, given); return true;
            case 2: return UserObjects.Typed<Service>(given, o => mesh.Services.Set(o.Key, o));
            case 3: return UserObjects.Typed<EndpointSlice>(given, o => mesh.EndpointSlices.Set(o.Key, o));
            default: return UserObjects.Typed<Pod>(given, o => mesh.Pods.Set(o.Key, o));
        }
    }

    // Every object here is of a namespaced kind, so the API server has given it both.
    private static ObjectKey? GenericKey(JsonObject given) =>
        given["metadata"] is JsonObject metadata && Text(metadata["name"]) && Text(metadata["namespace"]) ? GenericObjects.KeyOf(given) : null;

    private static bool Text(JsonNode? node) => node is JsonValue value && value.TryGetValue<string>(out var text) && text.Length > 0 && !text.Contains('/', StringComparison.Ordinal);
}

/// <summary>Objects as the API server hands them on: JSON without repeated names and half surrogates, which it has put right before anybody reads it.</summary>
internal static class UserObjects
{
    /// <summary>Null when it is no such object.</summary>
    public static JsonObject? Read(ReadOnlySpan<byte> input)
    {
        try
        {
            var given = JsonNode.Parse(input, documentOptions: KubernetesJson.Documents) as JsonObject;
            Touch(given);
            return given;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or ArgumentException)
        {
            return null;
        }
    }

    /// <summary>False when it cannot be read as one of its kind, or has the name of the bystander pod.</summary>
    public static bool Typed<T>(JsonObject given, Action<T> set) where T : KubernetesObject, IResource<T>
    {
        using var json = JsonDocument.Parse(given.ToJsonString());
        if (!ObjectReading.TryRead(json.RootElement, T.Kind, out var read, out _)) return false;
        if (read.Key == new ObjectKey("ns", "p")) return false;
        set(read);
        return true;
    }

    /// <summary>Reads every name and text: the tree is made lazily.</summary>
    private static void Touch(JsonNode? node)
    {
        if (node is JsonObject members) foreach (var (_, member) in members) Touch(member);
        else if (node is JsonArray items) foreach (var item in items) Touch(item);
        else _ = node?.ToString();
    }
}

/// <summary>YAML from settings, ConfigMaps and kubeconfig files.</summary>
public sealed class YamlTarget : FuzzTarget
{
    private readonly string _file = Path.Combine(Path.GetTempPath(), $"ambientmesh-fuzz-{Environment.ProcessId}.yaml");

    public override string Name => "yaml";
    public override string Purpose => "enablement selectors, mesh and proxy configuration, static resources, kubeconfig: read, or refused with a reason that says where; nesting bounded";
    public override int MaxBytes => 2048;
    public override long MaxAllocatedBytes(int inputBytes) => (16 << 20) + (inputBytes * 16384L);

    public override IEnumerable<byte[]> Seeds() =>
    [
        SeedBytes.Of(0, "- podSelector:\n    matchLabels:\n      istio.io/dataplane-mode: ambient\n- namespaceSelector:\n    matchExpressions:\n    - {key: a, operator: NotIn, values: [none]}\n"),
        SeedBytes.Of(1, "trustDomain: td\nrootNamespace: istio-system\ndefaultConfig: {a: [1, 2], b: &x y, c: *x}\n"),
        SeedBytes.Of(2, "current-context: c\nclusters:\n- name: k\n  cluster: {server: 'https://127.0.0.1:1', insecure-skip-tls-verify: true}\ncontexts:\n- name: c\n  context: {cluster: k, user: u}\nusers:\n- name: u\n  user: {token: t}\n"),
        SeedBytes.Of(1, "# nothing\n"),
        SeedBytes.Of(3, "workloads:\n- uid: a\n  name: a\n  namespace: b\n  workloadIps: [10.0.0.1]\n  protocol: HBONE\n  services:\n    b/s.b.svc: {80: 8080}\nservices:\n- name: s\n  namespace: b\n  hostname: s.b.svc\n  vips: ['/10.1.0.1']\n  ports: {80: 8080}\npolicies:\n- name: p\n  namespace: b\n  scope: Namespace\n  action: Allow\n  rules: [[[{principals: [{Exact: x}]}]]]\n"),
        SeedBytes.Of(4, "discoveryAddress: a:15012\nconcurrency: 2\nproxyAdminPort: 15000\nproxyMetadata: {A: b}\n"),
        SeedBytes.Of(5, "defaultConfig:\n  discoveryAddress: a:15012\n  statusPort: 15020\n"),
    ];

    public override IEnumerable<byte[]> Words() => SeedBytes.Words("? ", "- ", ": ", "&a ", "*a", "<<: *a", "|\n", ">\n", "'", "\"", "{", "[", "[[[[[[[[", "!!binary ", "---\n", "...\n", "%YAML 1.2\n", "\t", "clusters:", "cluster:", "certificate-authority-data: ", "podSelector:", "matchExpressions:");

    public override void Run(byte[] input)
    {
        var rest = input.AsSpan(Math.Min(1, input.Length)).ToArray();
        var text = Encoding.UTF8.GetString(rest);
        try
        {
            switch ((input.Length > 0 ? input[0] : 0) % 6)
            {
                case 0:
                    var labels = new Dictionary<string, string> { ["a"] = "b" };
                    _ = EnrollmentSelector(text, labels);
                    break;
                case 1:
                    _ = MeshConfiguration.Of(new ConfigMap { Data = new Dictionary<string, string> { ["mesh"] = text } });
                    break;
                case 3:
                    var store = new MeshStore("n1");
                    StaticResources.Read(text).AddTo(store);
                    break;
                case 4: _ = ProxyConfig.Of(text); break;
                case 5: _ = ProxyConfig.OfMesh(text); break;
                default:
                    ReadKubeconfig(rest);
                    break;
            }
        }
        catch (Exception e) when (e is FormatException or KubernetesConfigurationException)
        {
            Demand.That(e.Message.Length > 0, "a refusal has a reason");
        }
    }

    private void ReadKubeconfig(byte[] text)
    {
        File.WriteAllBytes(_file, text);
        try
        {
            using var certificate = Kubeconfig.Load([_file]).Connect(TimeProvider.System).ClientCertificate;
        }
        finally
        {
            File.Delete(_file);
        }
    }

    private static bool EnrollmentSelector(string yaml, Dictionary<string, string> labels) => SelectorYaml.Read(yaml).Any(selector => selector.Matches(labels, labels));
}

/// <summary>Small texts: identities, names, durations. All parsers see every input.</summary>
public sealed class NamesTarget : FuzzTarget
{
    public override string Name => "names";
    public override string Purpose => "SPIFFE ids, namespaced names, durations: what was read prints as it was, byte for byte";
    public override int MaxBytes => 2200;

    public override IEnumerable<byte[]> Seeds() => SeedBytes.Words("spiffe://cluster.local/ns/default/sa/app", "ns/name", "1h30m5.5s", "250ms", "0", "10us", "ns/host.name.svc.cluster.local", "1.5h");
    public override IEnumerable<byte[]> Words() => SeedBytes.Words("spiffe://", "/ns/", "/sa/", "%2f", "..", "//", "h", "ms", "µs", "ns", ".", "99999999999", "\0", "É");

    public override void Run(byte[] input)
    {
        var text = Encoding.UTF8.GetString(input);
        if (SpiffeId.TryParse(text, out var id)) Demand.Equal(text, id.ToString(), "an identity");
        if (ServiceName.TryParse(text, out var service)) Demand.Equal(text, service.ToString(), "a service's name");
        if (PolicyName.TryParse(text, out var policy)) Demand.Equal(text, policy.ToString(), "a policy's name");
        if (GoDuration.TryParse(text, out var duration)) Demand.That(duration >= TimeSpan.Zero, "a duration is not negative");
    }
}
