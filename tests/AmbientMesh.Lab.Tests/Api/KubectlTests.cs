using AmbientMesh.Lab.Api.Http;

namespace AmbientMesh.Lab.Tests.Api;

/// <summary>The real kubectl against the server on loopback.</summary>
public sealed class KubectlTests : IAsyncLifetime
{
    private readonly ApiServer _server = new(new ApiServerOptions(), TimeProvider.System);
    private Kubectl _kubectl = null!;

    private const string Web = """
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web, namespace: demo, labels: {app: web}}
        spec:
          replicas: 2
          selector: {matchLabels: {app: web}}
          template:
            metadata: {labels: {app: web}}
            spec:
              containers:
              - name: web
                image: sample:1
                env: [{name: A, value: "1"}]
                ports: [{containerPort: 80, name: http}]
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: web, namespace: demo}
        spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
        ---
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: settings, namespace: demo}
        data: {a: "1"}
        """;

    public async ValueTask InitializeAsync()
    {
        await _server.StartAsync(Patience.Token);
        _kubectl = await Kubectl.ForAsync(_server);
        await RunAsync("create", "namespace", "demo");
    }

    private Task<(int Code, string Output, string Error)> TryAsync(string? input, params string[] arguments) => _kubectl.TryAsync(input, arguments);
    private Task<string> RunAsync(params string[] arguments) => _kubectl.RunAsync(arguments);
    private Task<string> FeedAsync(string? input, params string[] arguments) => _kubectl.FeedAsync(input, arguments);

    [Fact]
    public async Task Apply_creates_then_leaves_alone_then_changes()
    {
        Assert.Contains("deployment.apps/web created", await FeedAsync(Web, "apply", "-f", "-"), StringComparison.Ordinal);
        Assert.Equal(["deployment.apps/web unchanged", "service/web unchanged", "configmap/settings unchanged"], (await FeedAsync(Web, "apply", "-f", "-")).Split('\n'));
        var changed = Web.Replace("value: \"1\"", "value: \"2\"", StringComparison.Ordinal);
        Assert.Equal(1, (await TryAsync(changed, "diff", "-f", "-")).Code);
        Assert.Contains("deployment.apps/web configured", await FeedAsync(changed, "apply", "-f", "-"), StringComparison.Ordinal);
        Assert.Equal("2", await RunAsync("get", "deploy", "web", "-n", "demo", "-o", "jsonpath={.spec.template.spec.containers[0].env[0].value}"));
    }

    [Fact]
    public async Task Apply_reads_a_kustomization()
    {
        await File.WriteAllTextAsync(Path.Combine(_kubectl.Folder, "web.yaml"), Web, Patience.Token);
        await File.WriteAllTextAsync(Path.Combine(_kubectl.Folder, "kustomization.yaml"), "resources: [web.yaml]\nlabels: [{pairs: {part: x}}]\n", Patience.Token);
        Assert.Contains("service/web created", await RunAsync("apply", "-k", _kubectl.Folder), StringComparison.Ordinal);
        Assert.Contains("web", await RunAsync("get", "svc", "-n", "demo", "-l", "part=x", "-o", "name"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Server_side_apply_names_the_manager_in_its_way_and_force_takes_over()
    {
        const string first = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s, namespace: demo}\ndata: {x: \"1\"}";
        const string second = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s, namespace: demo}\ndata: {x: \"2\"}";
        await FeedAsync(first, "apply", "--server-side", "--field-manager=alice", "-f", "-");
        var (code, _, error) = await TryAsync(second, "apply", "--server-side", "--field-manager=bob", "-f", "-");
        Assert.NotEqual(0, code);
        Assert.Contains("conflict with \"alice\": .data.x", error, StringComparison.Ordinal);
        await FeedAsync(second, "apply", "--server-side", "--field-manager=bob", "--force-conflicts", "-f", "-");
        Assert.Equal("2", await RunAsync("get", "cm", "s", "-n", "demo", "-o", "jsonpath={.data.x}"));
    }

    [Fact]
    public async Task Objects_are_labelled_annotated_patched_scaled_restarted_and_described()
    {
        await FeedAsync(Web, "apply", "-f", "-");
        await RunAsync("label", "ns", "demo", "istio.io/dataplane-mode=ambient");
        Assert.Equal("ambient", await RunAsync("get", "ns", "demo", "-o", "jsonpath={.metadata.labels.istio\\.io/dataplane-mode}"));
        await RunAsync("annotate", "deploy", "web", "-n", "demo", "note=hi");
        await RunAsync("scale", "deploy", "web", "-n", "demo", "--replicas=5");
        await RunAsync("patch", "deploy", "web", "-n", "demo", "-p", "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"web\",\"image\":\"other:2\"}]}}}}");
        await RunAsync("patch", "deploy", "web", "-n", "demo", "--type=json", "-p", "[{\"op\":\"replace\",\"path\":\"/spec/minReadySeconds\",\"value\":1}]".Replace("replace", "add", StringComparison.Ordinal));
        await RunAsync("patch", "cm", "settings", "-n", "demo", "--type=merge", "-p", "{\"data\":{\"a\":null,\"b\":\"2\"}}");
        await RunAsync("rollout", "restart", "deploy/web", "-n", "demo");
        Assert.Equal("5 other:2 1", await RunAsync("get", "deploy", "web", "-n", "demo", "-o", "jsonpath={.spec.replicas} {.spec.template.spec.containers[0].image} {.spec.minReadySeconds}"));
        Assert.Equal("{\"b\":\"2\"}", await RunAsync("get", "cm", "settings", "-n", "demo", "-o", "jsonpath={.data}"));
        Assert.Contains("Annotations:            note: hi", await RunAsync("describe", "deploy", "web", "-n", "demo"), StringComparison.Ordinal);
        Assert.Contains("web    0/5     0            0", await RunAsync("get", "deploy", "-n", "demo", "-o", "wide"), StringComparison.Ordinal);
        Assert.Contains("service/web", await RunAsync("get", "all", "-n", "demo"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Every_kind_that_create_sends_as_protobuf_arrives()
    {
        await RunAsync("create", "sa", "bob", "-n", "demo");
        await RunAsync("create", "configmap", "lit", "-n", "demo", "--from-literal=a=b");
        await RunAsync("create", "secret", "generic", "sec", "-n", "demo", "--from-literal=a=b");
        await RunAsync("create", "deployment", "dep", "-n", "demo", "--image=sample:1", "--replicas=0");
        await RunAsync("create", "job", "job", "-n", "demo", "--image=sample:1", "--", "true");
        await RunAsync("create", "cronjob", "cj", "-n", "demo", "--image=x", "--schedule=0 0 1 1 *", "--", "true");
        await RunAsync("create", "service", "clusterip", "svc", "-n", "demo", "--tcp=80:8080");
        await RunAsync("create", "role", "r", "-n", "demo", "--verb=get", "--resource=pods");
        await RunAsync("create", "rolebinding", "rb", "-n", "demo", "--role=r", "--serviceaccount=demo:bob");
        await RunAsync("create", "clusterrole", "cr", "--verb=get", "--resource=pods");
        await RunAsync("create", "clusterrolebinding", "crb", "--clusterrole=cr", "--serviceaccount=demo:bob");
        await RunAsync("create", "ingress", "ing", "-n", "demo", "--rule=a.test/*=web:80");
        await RunAsync("create", "pdb", "pdb", "-n", "demo", "--selector=app=web", "--min-available=1");
        await RunAsync("create", "priorityclass", "pc", "--value=1");
        await RunAsync("create", "quota", "q", "-n", "demo", "--hard=pods=100");
        Assert.Equal("b", await RunAsync("get", "cm", "lit", "-n", "demo", "-o", "jsonpath={.data.a}"));
        Assert.Equal("0", await RunAsync("get", "deploy", "dep", "-n", "demo", "-o", "jsonpath={.spec.replicas}"));
        Assert.Equal("8080", await RunAsync("get", "svc", "svc", "-n", "demo", "-o", "jsonpath={.spec.ports[0].targetPort}"));
        Assert.StartsWith("eyJ", await RunAsync("create", "token", "bob", "-n", "demo"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Roles_decide_what_an_account_may_do()
    {
        await RunAsync("create", "sa", "bob", "-n", "demo");
        const string bob = "--as=system:serviceaccount:demo:bob";
        Assert.Equal("no", (await TryAsync(null, "auth", "can-i", "list", "pods", "-n", "demo", bob)).Output);
        Assert.Contains("cannot list resource \"pods\"", (await TryAsync(null, "get", "pods", "-n", "demo", bob)).Error, StringComparison.Ordinal);
        await RunAsync("create", "rolebinding", "view", "-n", "demo", "--clusterrole=view", "--serviceaccount=demo:bob");
        Assert.Equal("yes", await RunAsync("auth", "can-i", "list", "pods", "-n", "demo", bob));
        Assert.Equal("no", (await TryAsync(null, "auth", "can-i", "list", "secrets", "-n", "demo", bob)).Output);
        Assert.Equal("no", (await TryAsync(null, "auth", "can-i", "list", "pods", "-n", "default", bob)).Output);
        var token = await RunAsync("create", "token", "bob", "-n", "demo");
        Assert.Contains("system:serviceaccount:demo:bob", await RunAsync("auth", "whoami", $"--token={token}", "--client-certificate=", "--client-key="), StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_account_cannot_hand_out_more_than_it_holds()
    {
        await RunAsync("create", "sa", "bob", "-n", "demo");
        await RunAsync("create", "rolebinding", "admin", "-n", "demo", "--clusterrole=admin", "--serviceaccount=demo:bob");
        const string bob = "--as=system:serviceaccount:demo:bob";
        await RunAsync("create", "role", "reader", "-n", "demo", "--verb=get", "--resource=pods", bob);
        Assert.Contains("not currently held", (await TryAsync(null, "create", "role", "nodes", "-n", "demo", "--verb=get", "--resource=nodes", bob)).Error, StringComparison.Ordinal);
        Assert.Contains("not currently held", (await TryAsync(null, "create", "rolebinding", "up", "-n", "demo", "--clusterrole=cluster-admin", "--serviceaccount=demo:bob", bob)).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Waiting_ends_with_the_condition_and_with_the_deletion()
    {
        await FeedAsync(Web, "apply", "-f", "-");
        var waiting = RunAsync("wait", "--for=jsonpath={.data.a}=9", "cm/settings", "-n", "demo", "--timeout=30s");
        await RunAsync("patch", "cm", "settings", "-n", "demo", "--type=merge", "-p", "{\"data\":{\"a\":\"9\"}}");
        Assert.Contains("condition met", await waiting, StringComparison.Ordinal);
        Assert.Contains("deleted", await RunAsync("delete", "ns", "demo", "--timeout=30s"), StringComparison.Ordinal);
        Assert.Contains("NotFound", (await TryAsync(null, "get", "ns", "demo")).Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("gateway-api-v1.6.1-standard.yaml", "gateways.gateway.networking.k8s.io")]
    [InlineData("gateway-api-v1.6.1-experimental.yaml", "httproutes.gateway.networking.k8s.io")]
    [InlineData("istio-1.32-dev.yaml", "authorizationpolicies.security.istio.io")]
    public async Task Published_definitions_are_taken_and_served(string file, string definition)
    {
        await RunAsync("apply", "--server-side", "-f", Samples.Path($"crds/{file}"));
        Assert.DoesNotContain("timed out", await RunAsync("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"), StringComparison.Ordinal);
        Assert.Equal("", await RunAsync("get", definition, "-A"));
        await RunAsync("delete", "crd", definition, "--timeout=30s");
        Assert.Contains("doesn't have a resource type", (await TryAsync(null, "get", definition, "-A")).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_waypoint_gateway_is_stored_with_its_defaults_and_a_bad_route_is_refused()
    {
        await RunAsync("apply", "--server-side", "-f", Samples.Path("crds/gateway-api-v1.6.1-standard.yaml"));
        await RunAsync("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s");
        await FeedAsync("""
            apiVersion: gateway.networking.k8s.io/v1
            kind: Gateway
            metadata: {name: waypoint, namespace: demo}
            spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
            """, "apply", "-f", "-");
        Assert.Equal("Same Pending", await RunAsync("get", "gateway", "waypoint", "-n", "demo", "-o", "jsonpath={.spec.listeners[0].allowedRoutes.namespaces.from} {.status.conditions[0].reason}"));
        var (code, _, error) = await TryAsync("""
            apiVersion: gateway.networking.k8s.io/v1
            kind: HTTPRoute
            metadata: {name: bad, namespace: demo}
            spec: {rules: [{matches: [{path: {type: PathPrefix, value: relative}}]}]}
            """, "apply", "-f", "-");
        Assert.NotEqual(0, code);
        Assert.Contains("value must be an absolute path", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Unknown_fields_are_refused_by_name()
    {
        var (code, _, error) = await TryAsync("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: demo}\nbogus: 1", "apply", "-f", "-");
        Assert.NotEqual(0, code);
        Assert.Contains("unknown field \"bogus\"", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_server_explains_and_lists_what_it_serves()
    {
        Assert.Contains("env\t<[]EnvVar>", await RunAsync("explain", "pod.spec.containers"), StringComparison.Ordinal);
        Assert.Contains("deployments", await RunAsync("api-resources", "--api-group=apps"), StringComparison.Ordinal);
        Assert.Contains("v1.36", await RunAsync("version"), StringComparison.Ordinal);
    }

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        _kubectl?.Dispose();
    }
}
