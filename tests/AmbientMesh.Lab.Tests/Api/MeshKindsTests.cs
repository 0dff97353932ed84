using AmbientMesh.Lab.Api.CustomResources;
using AmbientMesh.Lab.Api.Http;

namespace AmbientMesh.Lab.Tests.Api;

/// <summary>The definitions a user installs: good objects are taken, bad ones refused at <c>kubectl apply</c> with the field and the fix.</summary>
public sealed class MeshKindsTests : IAsyncLifetime
{
    private readonly ApiServer _server = new(new ApiServerOptions(), TimeProvider.System);
    private Kubectl _kubectl = null!;

    public async ValueTask InitializeAsync()
    {
        await _server.StartAsync(Patience.Token);
        _kubectl = await Kubectl.ForAsync(_server);
        var crds = Path.Combine(Samples.Root, "deploy", "crds");
        foreach (var file in Directory.GetFiles(crds, "*.yaml")) await _kubectl.RunAsync("apply", "--server-side", "-f", file);
        await _kubectl.RunAsync("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s");
    }

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        _kubectl?.Dispose();
    }

    private static string Policy(string spec) => $"apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p, namespace: default}}\nspec: {spec}\n";
    private static string Peer(string spec) => $"apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: p, namespace: default}}\nspec: {spec}\n";
    private static string Entry(string spec) => $"apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: p, namespace: default}}\nspec: {spec}\n";
    private static string Workload(string spec) => $"apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: p, namespace: default}}\nspec: {spec}\n";

    private static (string Object, string Field, string Fix)[] Refused { get; } =
    [
        (Policy("{rules: [{from: [{source: {ipBlocks: [10.0.0.0/33]}}]}]}"), "spec.rules[0].from[0].source.ipBlocks[0]", "should match"),
        (Policy("{rules: [{from: [{source: {ipBlocks: [300.0.0.1]}}]}]}"), "spec.rules[0].from[0].source.ipBlocks[0]", "should match"),
        (Policy("{action: PERHAPS}"), "spec.action", "supported values: \"ALLOW\", \"DENY\", \"AUDIT\", \"CUSTOM\""),
        (Policy("{rules: [{from: [{source: {principals: [\"cluster.local/ns/*/sa/x\"]}}]}]}"), "spec.rules[0].from[0].source.principals[0]", "should match"),
        (Policy("{rules: [{to: [{operation: {ports: [\"70000\"]}}]}]}"), "spec.rules[0].to[0].operation.ports[0]", "should match"),
        (Policy("{rules: [{from: []}]}"), "spec.rules[0].from", "should have at least 1 items"),
        (Policy("{rules: [{from: [{source: {}}]}]}"), "spec.rules[0].from[0].source", "should have at least 1 properties"),
        (Policy("{rules: [{to: [{operation: {ports: []}}]}]}"), "spec.rules[0].to[0].operation.ports", "should have at least 1 items"),
        (Policy("{selector: {matchLabels: {a: b}}, targetRefs: [{kind: Gateway, name: g}]}"), "spec", "only one of selector, targetRef and targetRefs can be given; remove the others"),
        (Policy("{action: DENY}"), "spec", "rules are missing: without any this policy never matches; add a rule"),
        (Policy("{action: CUSTOM, rules: [{}]}"), "spec", "action CUSTOM needs a provider; name one"),
        (Policy("{provider: {name: x}, rules: [{}]}"), "spec", "a provider is for action CUSTOM; set that, or remove the provider"),
        (Policy("{actoin: DENY}"), "spec.actoin", "unknown field"),
        (Policy("{rules: [{from: [{source: {serviceAccounts: [a], namespaces: [b]}}]}]}"), "spec.rules[0].from[0].source", "put them into a from entry of their own"),
        (Policy("{selector: {matchLabels: {app: \"we*\"}}}"), "spec.selector.matchLabels", "a '*' is no wildcard"),
        (Policy("{targetRefs: [{kind: Gateway, name: g, namespace: other}]}"), "spec.targetRefs[0].namespace", "leave it out"),
        (Peer("{mtls: {mode: SOMETIMES}}"), "spec.mtls.mode", "supported values"),
        (Peer("{portLevelMtls: {\"80\": {mode: STRICT}}}"), "spec", "portLevelMtls needs a selector with labels; add one"),
        (Peer("{selector: {matchLabels: {a: b}}, portLevelMtls: {\"70000\": {mode: STRICT}}}"), "spec.portLevelMtls", "must be a number from 1 to 65535"),
        (Entry("{hosts: []}"), "spec.hosts", "should have at least 1 items"),
        (Entry("{ports: [{number: 80, name: a}]}"), "spec.hosts", "Required value"),
        (Entry("{hosts: [\"*\"]}"), "spec.hosts[0]", "name a domain, as in *.example.com"),
        (Entry("{hosts: [\"a.*.example.com\"]}"), "spec.hosts[0]", "may only stand for the first label"),
        (Entry("{hosts: [a.example.com, a.example.com]}"), "spec.hosts", "a host is listed twice; remove one"),
        (Entry("{hosts: [a.example.com], ports: [{number: 70000, name: a}]}"), "spec.ports[0].number", "must be 1 to 65535"),
        (Entry("{hosts: [a.example.com], ports: [{number: 80, name: a}, {number: 80, name: b}]}"), "spec.ports", "a number is listed twice; remove one"),
        (Entry("{hosts: [a.example.com], ports: [{number: 80, name: a}, {number: 81, name: a}]}"), "spec.ports[1]", "Duplicate value"),
        (Entry("{hosts: [a.example.com], addresses: [10.0.0.0/40]}"), "spec.addresses[0]", "must be an IP address or a CIDR range"),
        (Entry("{hosts: [a.example.com], addresses: [10.0.0.0/8], resolution: DNS}"), "spec", "give single addresses or change resolution"),
        (Entry("{hosts: [a.example.com], resolution: STATIC}"), "spec", "resolution STATIC needs endpoints or a workloadSelector"),
        (Entry("{hosts: [a.example.com], resolution: STATIC, endpoints: [{address: b.example.com}]}"), "spec", "endpoints.address must be an IP address with resolution STATIC; use DNS for names"),
        (Entry("{hosts: [a.example.com], endpoints: [{address: 192.0.2.1}]}"), "spec", "use STATIC or DNS"),
        (Entry("{hosts: [a.example.com], resolution: STATIC, endpoints: [{address: 192.0.2.1}], workloadSelector: {labels: {a: b}}}"), "spec", "only one of workloadSelector and endpoints can be given; remove one"),
        (Entry("{hosts: [\"*.example.com\"], resolution: DNS}"), "spec", "list endpoints, or use DYNAMIC_DNS or NONE"),
        (Entry("{hosts: [a.example.com], resolution: MAGIC}"), "spec.resolution", "supported values"),
        (Workload("{labels: {a: b}}"), "spec", "address is missing"),
        (Workload("{address: 192.0.2.300}"), "spec.address", "write four numbers from 0 to 255"),
        (Workload("{address: \"host:80\"}"), "spec.address", "without a port"),
        (Workload("{address: 192.0.2.1, ports: {http: 0}}"), "spec.ports", "must be 1 to 65535"),
    ];

    [Fact]
    public async Task Bad_objects_are_refused_with_the_field_and_the_fix()
    {
        var missing = new List<string>();
        foreach (var (bad, field, fix) in Refused)
        {
            var (code, output, error) = await _kubectl.TryAsync(bad, "apply", "--server-side", "-f", "-");
            if (code == 0 || !error.Contains(field, StringComparison.Ordinal) || !error.Contains(fix, StringComparison.Ordinal)) missing.Add($"{bad}  wanted {field}: {fix}\n  got {code} {output} {error}");
        }
        Assert.True(missing.Count == 0, string.Join("\n", missing));
        Assert.Equal("", await _kubectl.RunAsync("get", "ap,pa,se,we", "-A", "-o", "name"));
        var rules = Rules();
        Assert.Equal("", string.Join("; ", RuleValidation.Unchecked.Where(r => rules.Contains(r.Key)).Select(r => $"{r.Key}: {r.Value}")));
    }

    private static HashSet<string> Rules() =>
        [.. Directory.GetFiles(Path.Combine(Samples.Root, "deploy", "crds"), "*.yaml").SelectMany(File.ReadLines).Where(l => l.Contains("- rule: ", StringComparison.Ordinal)).Select(l => l.Split("- rule: ", 2)[1].Trim('\'', '"'))];

    [Theory]
    [InlineData("v1", "v1beta1", "v1alpha3")]
    public async Task Good_objects_are_taken_in_every_version_and_listed_with_their_columns(params string[] versions)
    {
        foreach (var version in versions)
            await _kubectl.FeedAsync($$"""
                apiVersion: networking.istio.io/{{version}}
                kind: ServiceEntry
                metadata: {name: all, namespace: default}
                spec:
                  hosts: [bank.example.com, "*.pay.example.com"]
                  addresses: [203.0.113.20, 198.51.100.0/24, "2001:db8::/32"]
                  location: MESH_EXTERNAL
                  resolution: STATIC
                  ports: [{number: 443, name: tls, protocol: TLS, targetPort: 8443}]
                  endpoints: [{address: 192.0.2.1, ports: {tls: 9443}, weight: 3, locality: a/b/c, network: net, serviceAccount: x, labels: {a: b} }, {address: "2001:db8::1"}]
                ---
                apiVersion: networking.istio.io/{{version}}
                kind: WorkloadEntry
                metadata: {name: vm, namespace: default}
                spec: {address: vm.example.net, ports: {http: 8080}, weight: 2}
                """, "apply", "-f", "-");
        foreach (var version in versions.Take(2))
            await _kubectl.FeedAsync($$"""
                apiVersion: security.istio.io/{{version}}
                kind: AuthorizationPolicy
                metadata: {name: all, namespace: default}
                spec:
                  action: DENY
                  selector: {matchLabels: {app: web} }
                  rules:
                  - from: [{source: {principals: ["*", "*/sa/x", "cluster.local/ns/y/*", "a/b"], ipBlocks: [10.0.0.0/8, 192.0.2.1, "2001:db8::/32", "::1", 10.1.2.3/8] } }, {source: {notServiceAccounts: [a, b/c]} }]
                    to: [{operation: {ports: ["1", "65535"], notPorts: ["15008"]} }]
                    when: [{key: source.namespace, notValues: [x]}]
                  - {}
                ---
                apiVersion: security.istio.io/{{version}}
                kind: PeerAuthentication
                metadata: {name: all, namespace: default}
                spec: {selector: {matchLabels: {app: web} }, mtls: {mode: STRICT}, portLevelMtls: {"8080": {mode: PERMISSIVE} } }
                """, "apply", "-f", "-");
        Assert.Matches(@"NAME\s+HOSTS\s+LOCATION\s+RESOLUTION\s+AGE\s+all\s+\S*bank.example.com\S*\s+MESH_EXTERNAL\s+STATIC", await _kubectl.RunAsync("get", "se"));
        Assert.Matches(@"NAME\s+AGE\s+ADDRESS\s+vm\s+\S+\s+vm.example.net", await _kubectl.RunAsync("get", "we"));
        Assert.Matches(@"NAME\s+ACTION\s+ENFORCED\s+AGE\s+all\s+DENY", await _kubectl.RunAsync("get", "ap"));
        Assert.Contains("An IP address, or a DNS name", await _kubectl.RunAsync("explain", "workloadentry.spec.address"), StringComparison.Ordinal);
    }
}
