using System.Text.Json.Nodes;
using AmbientMesh.Cli.CommandLine;
using AmbientMesh.Cli.Explain;
using AmbientMesh.Model;
using AmbientMesh.Model.Explanation;
using AmbientMesh.Model.Tests;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Certificates;
using AmbientMesh.Ztunnel.Configuration;
using AmbientMesh.Ztunnel.Explain;
using AmbientMesh.Ztunnel.InPod;
using AmbientMesh.Ztunnel.Reporting;
using Microsoft.Extensions.Logging.Abstractions;
using Wire = AmbientMesh.Protocol.Security;

namespace AmbientMesh.Cli.Tests.Explain;

/// <summary><c>meshctl explain</c> over a lab API server and the explain pages of real ztunnels, each with a mesh of its own.</summary>
public sealed class ExplainTests : IAsyncDisposable
{
    private const string Enabled = "ambient.istio.io/redirection=enabled";
    private readonly List<IAsyncDisposable> _owned = [];

    private static MeshBuilder Shop => new MeshBuilder()
        .Pod("client", "10.0.0.1", "shop").Pod("server", "10.0.0.2", "shop", w => { w.Backs("server", ns: "shop"); w.Node = "node-2"; })
        .Service("server", "10.1.0.1", ns: "shop");

    [Fact]
    public async Task An_allowed_connection_is_followed_over_both_nodes()
    {
        await using var world = await WorldAsync(Shop, Shop);
        var (code, output, error) = await world.RunAsync("explain", "--from", "shop/client", "--to", "server:80");
        Assert.True(code == ExitCodes.Fine, output + error);
        Assert.Contains("ALLOWED: let in through mutual TLS", output, StringComparison.Ordinal);
        Assert.Contains("server is server.shop.svc.cluster.local: 10.1.0.1", output, StringComparison.Ordinal);
        Assert.Contains("shop/server at 10.0.0.2:15008 through mutual TLS (HBONE), asked for 10.0.0.2:8080; it must prove to be spiffe://cluster.local/ns/shop/sa/server", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_denial_names_policy_rule_object_and_generation()
    {
        var rule = new Wire.Rule { Clauses = { new Wire.Clause { Matches = { new Wire.Match { Namespaces = { new Wire.StringMatch { Exact = "shop" } } } } } } };
        var mesh = Shop.Policy("no-shop", Wire.Action.Deny, Wire.Scope.Namespace, "shop", rules: rule);
        await using var world = await WorldAsync(mesh, mesh, origins: """[{"resource":"shop/no-shop","typeUrl":"t","kind":"AuthorizationPolicy","apiVersion":"security.istio.io/v1","namespace":"shop","name":"no-shop","generation":7,"resourceVersion":"42"}]""");
        var (code, output, _) = await world.RunAsync("explain", "--from", "shop/client", "--to", "10.1.0.1:80");
        Assert.Equal(ExitCodes.NotFine, code);
        Assert.Contains("REFUSED, policy-denied", output, StringComparison.Ordinal);
        Assert.Contains("Decided by AuthorizationPolicy shop/no-shop rule 0, at the destination ztunnel.", output, StringComparison.Ordinal);
        Assert.Contains("Object: AuthorizationPolicy shop/no-shop, generation 7", output, StringComparison.Ordinal);
        var json = JsonNode.Parse((await world.RunAsync("explain", "--from", "shop/client", "--to", "10.1.0.1:80", "-o", "json")).Output)!;
        Assert.Equal(("refused", "policy-denied", 7), ((string?)json["verdict"], (string?)json["reason"], (int)json["decidedByObjects"]![0]!["generation"]!));
    }

    [Fact]
    public async Task Nodes_that_hold_different_versions_are_told()
    {
        var newer = Shop.Pod("server", "10.0.0.2", "shop", w => { w.Backs("server", ns: "shop"); w.Node = "node-2"; w.Capacity = 5; });
        await using var world = await WorldAsync(Shop, newer);
        var (_, output, _) = await world.RunAsync("explain", "--from", "shop/client", "--to", "server:80");
        Assert.Contains("nodes node-1 and node-2 hold different versions of workload Kubernetes//Pod/shop/server: one of them is behind", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_client_outside_the_mesh_is_refused_by_strict_and_told_how_to_get_in()
    {
        var mesh = Shop.Policy("istio_converted_static_strict", Wire.Action.Deny, Wire.Scope.Global, "istio-system",
            rules: new Wire.Rule { Clauses = { new Wire.Clause { Matches = { new Wire.Match { NotPrincipals = { new Wire.StringMatch { Presence = new Google.Protobuf.WellKnownTypes.Empty() } } } } } } });
        await using var world = await WorldAsync(mesh, mesh, clientAnnotations: "");
        var (code, output, _) = await world.RunAsync("explain", "--from", "shop/client", "--to", "server.shop:80");
        Assert.Equal(ExitCodes.NotFine, code);
        Assert.Contains("not captured", output, StringComparison.Ordinal);
        Assert.Contains("REFUSED, policy-denied", output, StringComparison.Ordinal);
        Assert.Contains("To change it: Enrol the client", output, StringComparison.Ordinal);
    }

    [Fact, Scenario("T-33")]
    public async Task A_client_that_goes_round_a_required_waypoint_is_shown_what_it_misses()
    {
        var mesh = Shop.Pod("gateway", "10.0.0.8", "shop", w => w.Backs("wp", ns: "shop")).Service("wp", "10.1.0.8", ns: "shop")
            .Service("server", "10.1.0.1", ns: "shop", with: s => s.Waypoint = MeshBuilder.Named("wp", "shop"))
            .Policy("anyone", Wire.Action.Allow, Wire.Scope.Namespace, "shop", rules: new Wire.Rule());
        await using var world = await WorldAsync(mesh, mesh, requiresWaypoint: true);
        var (code, output, _) = await world.RunAsync("explain", "--from", "shop/client", "--to", "10.0.0.2:8080");
        Assert.Equal(ExitCodes.NotFine, code);
        Assert.Contains("this ztunnel asks for the waypoint (REQUIRE_WAYPOINT): Service shop/server is bound to shop/wp.shop.svc.cluster.local (spiffe://cluster.local/ns/shop/sa/gateway), which the client IS NOT", output, StringComparison.Ordinal);
        Assert.Contains("REFUSED, policy-not-allowed: traffic must come through the waypoint", output, StringComparison.Ordinal);
        Assert.Contains("To change it: Connect from an enrolled pod to the address that is bound to the waypoint (Service shop/server)", output, StringComparison.Ordinal);
        Assert.DoesNotContain("Object: AuthorizationPolicy", output, StringComparison.Ordinal);

        await using var relaxed = await WorldAsync(mesh, mesh);
        Assert.Contains("ALLOWED", (await relaxed.RunAsync("explain", "--from", "shop/client", "--to", "10.0.0.2:8080")).Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_service_without_endpoints_says_why_each_is_out()
    {
        var sick = Shop.Pod("server", "10.0.0.2", "shop", w => { w.Backs("server", ns: "shop"); w.Status = Protocol.Wds.WorkloadStatus.Unhealthy; });
        await using var world = await WorldAsync(sick, sick);
        var (_, output, _) = await world.RunAsync("explain", "--from", "shop/client", "--to", "server:80");
        Assert.Contains("REFUSED, no-healthy-upstream", output, StringComparison.Ordinal);
        Assert.Contains("1 of 1: is not healthy", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_redirected_pod_that_no_ztunnel_serves_gets_nowhere()
    {
        await using var world = await WorldAsync(Shop, Shop, served: false);
        var (_, output, _) = await world.RunAsync("explain", "--from", "shop/client", "--to", "server:80");
        Assert.Contains("REFUSED, connect-refused: the pod is redirected to a ztunnel that does not serve it", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_ztunnel_that_cannot_explain_is_named()
    {
        await using var world = await WorldAsync(Shop, Shop);
        world.Serve("ztunnel-1", 15000, _ => null);
        var (code, _, error) = await world.RunAsync("explain", "--from", "shop/client", "--to", "server:80");
        Assert.Equal(ExitCodes.Failed, code);
        Assert.Contains("ztunnel-1 on node node-1 does not explain", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_past_denial_is_found_by_its_id_on_both_nodes_and_explained_as_it_is_now()
    {
        const string id = "0af7651916cd43dd8448eb211c80319c";
        await using var world = await WorldAsync(Shop, Shop);
        var (first, second) = (Page(Shop, "node-1", true), Page(Shop, "node-2", true));
        world.Serve("ztunnel-1", 15000, path => path.StartsWith("/debug/connections", StringComparison.Ordinal) ? $$$"""
            {"connections":[{"id":"{{{id}}}","state":"ended","direction":"outbound","pod":"shop/client","protocol":"HBONE","source":{"address":"10.0.0.1:4000"},"destination":{"address":"10.0.0.2:15008"},
            "asked":"10.1.0.1:80","openedAt":"2026-11-21T01:00:00Z","endedAt":"2026-11-21T01:00:01Z","bytesSent":0,"bytesReceived":0,"reason":"denied-by-peer","error":"http status: 401 Unauthorized"}]}
            """ : first(path));
        world.Serve("ztunnel-2", 15000, path => path.StartsWith("/debug/connections", StringComparison.Ordinal) ? $$$"""
            {"connections":[{"id":"{{{id}}}","state":"ended","direction":"inbound","pod":"shop/server","protocol":"HBONE","source":{"address":"10.0.0.1:4000","identity":"spiffe://cluster.local/ns/shop/sa/client"},
            "destination":{"address":"10.0.0.2:8080","hboneAddress":"10.0.0.2:8080"},"openedAt":"2026-11-21T01:00:00Z","endedAt":"2026-11-21T01:00:01Z","bytesSent":0,"bytesReceived":0,"reason":"policy-denied",
            "error":"connection closed due to policy rejection: explicitly denied by: shop/gone","decidedBy":{"kind":"AuthorizationPolicy","name":"shop/gone","detail":"rule 0"}}]}
            """ : second(path));
        await world.DefineAsync("security.istio.io", "authorizationpolicies", "AuthorizationPolicy");
        var (code, output, error) = await world.RunAsync("explain", "--connection", id);
        Assert.True(code == ExitCodes.NotFine, output + error);
        Assert.Contains("denied-by-peer", output, StringComparison.Ordinal);
        Assert.Contains("destination: decided by AuthorizationPolicy shop/gone rule 0", output, StringComparison.Ordinal);
        Assert.Contains("AuthorizationPolicy shop/gone: does not exist any more", output, StringComparison.Ordinal);
        Assert.Contains("shop/client -> 10.1.0.1:80", output, StringComparison.Ordinal);
        Assert.Contains("ALLOWED", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_may_not_be_read_costs_a_past_connection_only_its_present_and_a_host_of_a_ServiceEntry_is_found_there()
    {
        const string id = "0af7651916cd43dd8448eb211c80319d";
        await using var world = await WorldAsync(Shop, Shop);
        world.Serve("ztunnel-2", 15000, path => path.StartsWith("/debug/connections", StringComparison.Ordinal) ? $$$"""
            {"connections":[{"id":"{{{id}}}","state":"ended","direction":"inbound","pod":"shop/server","protocol":"TCP","source":{"address":"10.0.0.1:4000"},"destination":{"address":"10.0.0.2:8080"},
            "openedAt":"2026-11-21T01:00:00Z","endedAt":"2026-11-21T01:00:01Z","reason":"no-healthy-upstream","decidedBy":{"kind":"Service","name":"shop/api"}}]}
            """ : null);
        await world.DefineAsync("networking.istio.io", "serviceentries", "ServiceEntry");
        await world.ObjectAsync(new("networking.istio.io", "v1", "serviceentries", "ServiceEntry", IsNamespaced: true), JsonNode.Parse("""{"metadata":{"namespace":"shop","name":"api"},"spec":{}}""")!.AsObject());
        using var reader = await world.ClientOfNobodyAsync();
        foreach (var ns in (string[])["istio-system", "shop"])
        {
            await world.ObjectAsync(new("rbac.authorization.k8s.io", "v1", "roles", "Role", IsNamespaced: true), JsonNode.Parse($$"""
                {"metadata":{"namespace":"{{ns}}","name":"reader"},"rules":[{"apiGroups":[""],"resources":["pods","services"],"verbs":["get","list"]},{"apiGroups":[""],"resources":["pods/portforward"],"verbs":["get","create"]},{"apiGroups":["networking.istio.io"],"resources":["serviceentries"],"verbs":["get"]}]}
                """)!.AsObject());
            await world.ObjectAsync(new("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", IsNamespaced: true), JsonNode.Parse($$"""
                {"metadata":{"namespace":"{{ns}}","name":"reader"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"reader"},"subjects":[{"kind":"ServiceAccount","namespace":"poor","name":"nobody"}]}
                """)!.AsObject());
        }
        var authorities = Convert.ToBase64String(System.Text.Encoding.ASCII.GetBytes(world.Client.Connection.Authorities!.ExportCertificatePems()));
        var kubeconfig = Path.GetTempFileName();
        await File.WriteAllTextAsync(kubeconfig, $$"""
            current-context: x
            clusters: [{name: c, cluster: {server: "{{world.Client.Connection.Server}}", certificate-authority-data: {{authorities}} } }]
            contexts: [{name: x, context: {cluster: c, user: u} }]
            users: [{name: u, user: {token: {{reader.Connection.Token!.Current()}} } }]
            """, Patience.Token);
        var (code, output, error) = await world.RunAsync("explain", "--connection", id, "--kubeconfig", kubeconfig);
        File.Delete(kubeconfig);
        Assert.True(code == ExitCodes.NotFine, output + error);
        Assert.Contains("decided by Service shop/api", output, StringComparison.Ordinal);
        Assert.Contains("ServiceEntry shop/api: generation", output, StringComparison.Ordinal);
        Assert.Contains("what would happen today is not known:", output, StringComparison.Ordinal);   // pods of all namespaces may not be listed
    }

    [Fact]
    public async Task Plaintext_to_a_pod_that_is_gone_is_not_called_allowed()
    {
        var mesh = Shop.Pod("ghost", "10.0.0.9", "shop", w => w.TunnelProtocol = Protocol.Wds.TunnelProtocol.None);
        await using var world = await WorldAsync(mesh, mesh);
        var (code, output, _) = await world.RunAsync("explain", "--from", "shop/client", "--to", "10.0.0.9:8080");
        Assert.Equal(ExitCodes.Failed, code);   // not known
        Assert.DoesNotContain("ALLOWED", output, StringComparison.Ordinal);
        Assert.Contains("does not exist any more", output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_refusal_that_is_known_is_not_hidden_by_what_is_not()
    {
        Branch Way(Outcome outcome) => new(new RouteReport { Share = 0.5 }, null, null, outcome);
        Outcome Together(params Outcome[] outcomes) => new PathExplanation("shop/client", "server:80", new PodCapture(true, [], null), new OutboundExplanation(), [.. outcomes.Select(Way)], [], [], [], []).Outcome;
        var (unknown, denied, refused) = (Outcome.Unknown("destination ztunnel", "not asked"), Outcome.Refused("destination ztunnel", Reason.PolicyDenied, "denied"), Outcome.Refused("source ztunnel", Reason.ConnectRefused, "refused"));
        Assert.Equal((null, "policy-denied"), (Together(unknown, denied).IsAllowed, Together(unknown, denied).Reason));
        Assert.Contains("denied", Together(unknown, denied).Text, StringComparison.Ordinal);
        Assert.Null(Together(Outcome.Allowed("x", "y"), denied).IsAllowed);
        Assert.False(Together(refused, denied).IsAllowed);   // each for its own reason
    }

    [Theory]
    [InlineData("enabled", true)]
    [InlineData("pending", true)]
    [InlineData(null, false)]
    public void Without_the_node_agent_a_pod_whose_annotation_is_pending_is_taken_for_captured(string? annotation, bool isCaptured)
    {
        var annotations = new Dictionary<string, string>();
        if (annotation is not null) annotations["ambient.istio.io/redirection"] = annotation;
        var pod = new AmbientMesh.Kubernetes.Pod { Metadata = new() { Namespace = "shop", Name = "web", Uid = "u", Annotations = annotations } };
        var capture = CaptureJudgement.Of(pod, null, null, DateTimeOffset.UnixEpoch);
        Assert.Equal((isCaptured, annotation == "pending"), (capture.IsCaptured, capture.Problem is not null));
    }

    [Theory]
    [InlineData("explain")]
    [InlineData("explain", "--from", "shop/client")]
    [InlineData("explain", "--from", "shop/client", "--to", "server")]
    [InlineData("explain", "--from", "shop/client", "--to", "server:0")]
    [InlineData("explain", "--from", "shop/client", "--to", "fd00::1:80")]
    [InlineData("explain", "--from", "shop/client", "--to", "s:1", "--connection", "x")]
    public async Task A_question_that_is_none_is_a_usage_error(params string[] arguments)
    {
        var error = new StringWriter();
        Assert.Equal(ExitCodes.Usage, await MeshctlCommand.RunAsync(arguments, new Surroundings(new StringWriter(), error, _ => null, TimeProvider.System), Patience.Token));
        Assert.NotEqual("", error.ToString());
    }

    [Fact]
    public async Task A_pod_that_does_not_exist_is_named()
    {
        await using var world = await WorldAsync(Shop, Shop);
        Assert.Contains("There is no pod shop/nobody", (await world.RunAsync("explain", "--from", "shop/nobody", "--to", "server:80")).Error, StringComparison.Ordinal);
    }

    private async Task<FakeMesh> WorldAsync(MeshBuilder first, MeshBuilder second, string clientAnnotations = Enabled, bool served = true, string origins = "[]", bool requiresWaypoint = false)
    {
        var mesh = await FakeMesh.StartAsync();
        await mesh.NamespaceAsync("shop", "istio.io/dataplane-mode=ambient");
        await mesh.PodAsync("istio-system", "istiod-1", "app=istiod", "node-1");
        await mesh.PodAsync("istio-system", "ztunnel-1", "app=ztunnel", "node-1");
        await mesh.PodAsync("istio-system", "ztunnel-2", "app=ztunnel", "node-2");
        await mesh.PodAsync("shop", "client", "app=client", "node-1", "10.0.0.1", clientAnnotations);
        await mesh.PodAsync("shop", "server", "app=server", "node-2", "10.0.0.2", Enabled);
        mesh.Serve("istiod-1", 8080, path => path.StartsWith("/debug/origins", StringComparison.Ordinal) ? origins : path == "/debug/syncz" ? "[]" : null);
        mesh.Serve("ztunnel-1", 15000, Page(first, "node-1", served, requiresWaypoint));
        mesh.Serve("ztunnel-2", 15000, Page(second, "node-2", served, requiresWaypoint));
        return mesh;
    }

    private Func<string, string?> Page(MeshBuilder mesh, string node, bool served, bool requiresWaypoint = false)
    {
        var clock = TimeProvider.System;
        var registry = new MetricRegistry();
        var svids = new SvidStore((id, _) => throw new SvidUnavailableException($"no authority for {id}"), clock, NullLogger.Instance);
        _owned.Add(svids);
        var services = new ProxyServices(mesh.Store, svids, new ConnectionReports(new TcpMetrics(registry), new AccessLog(NullLoggerFactory.Instance), clock), new ZtunnelSettings { NodeName = node, RequireWaypoint = requiresWaypoint }, clock, NullLoggerFactory.Instance);
        var page = new ExplainPage(services, () => served ? [(new WorkloadInfo("client", "shop", "client"), true), (new WorkloadInfo("server", "shop", "server"), true)] : [], "test");
        return path => path.Split('?') is ["/debug/explain", var query] && page.Answer(new HttpEndpointRequest("GET", "/debug/explain", query, new Dictionary<string, string>(), default)) is { Status: 200 } answer ? System.Text.Encoding.UTF8.GetString(answer.Body.Span) : null;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var one in _owned) await one.DisposeAsync();
    }
}
