using System.Text.Json;
using AmbientMesh.Model.Explanation;
using AmbientMesh.Model.Tests;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Certificates;
using AmbientMesh.Ztunnel.Configuration;
using AmbientMesh.Ztunnel.Explain;
using AmbientMesh.Ztunnel.InPod;
using AmbientMesh.Ztunnel.Reporting;
using Microsoft.Extensions.Logging.Abstractions;
using Wds = AmbientMesh.Protocol.Wds;
using Wire = AmbientMesh.Protocol.Security;

namespace AmbientMesh.Ztunnel.Tests.Explain;

/// <summary>The page's questions and answers, as a client reads them.</summary>
public sealed class ExplainPageTests : IAsyncDisposable
{
    private readonly SvidStore _svids = new((id, _) => throw new SvidUnavailableException($"no authority for {id}"), new FakeTimeProvider(), NullLogger.Instance);

    private static MeshBuilder Shop => new MeshBuilder("n1").Pod("client", "10.0.0.1")
        .Pod("a", "10.0.0.2", with: w => w.Backs("server"))
        .Pod("b", "10.0.0.3", with: w => { w.Backs("server"); w.Capacity = 3; })
        .Pod("sick", "10.0.0.4", with: w => { w.Backs("server"); w.Status = Wds.WorkloadStatus.Unhealthy; })
        .Service("server", "10.1.0.1");

    [Fact]
    public void A_name_is_followed_to_every_endpoint_with_its_share()
    {
        var said = Outbound(Shop, "from=default/client&to=server:80");
        Assert.Equal(("server.default.svc.cluster.local", "10.1.0.1:80"), (said.Name!.Owner, said.Destination));
        Assert.Equal("default/server.default.svc.cluster.local", said.Service!.Resource);
        Assert.Equal([("10.0.0.2:15008", 0.25), ("10.0.0.3:15008", 0.75)], said.Routes.Select(r => (r.NextHop!, r.Share)).Order());
        var search = Assert.Single(said.Searches);
        Assert.Equal([("a", true, "may be chosen"), ("b", true, "may be chosen"), ("sick", false, "is not healthy")], search.Endpoints.Select(e => (e.Workload.Name, e.IsCandidate, e.Why)));
    }

    [Fact]
    public void A_refusal_has_its_word_and_what_decided()
    {
        var said = Outbound(Shop, "from=default/client&to=10.1.0.1:99");
        var route = Assert.Single(said.Routes);
        Assert.Equal((RouteKind.Refused, "no-healthy-upstream", "Service default/server"), (route.Kind, route.Refusal!.Reason, route.Refusal.DecidedBy!.ToString()));
        Assert.All(said.Searches[0].Endpoints.Where(e => e.Workload.Name != "sick"), e => Assert.Equal("serves nothing for port 99", e.Why));
    }

    [Fact]
    public void A_name_outside_the_mesh_is_said_to_be_the_name_servers()
    {
        var said = Outbound(Shop, "from=default/client&to=example.com:443");
        Assert.Equal("", said.Name!.Owner);
        Assert.Null(said.Destination);
        Assert.Empty(said.Routes);
    }

    [Fact]
    public void Without_capture_any_ready_endpoint_may_be_taken_in_plain()
    {
        var said = Outbound(Shop, "from=default/client&to=server.default:80&captured=false");
        Assert.Equal([("10.0.0.2:8080", RouteKind.Tcp), ("10.0.0.3:8080", RouteKind.Tcp)], said.Routes.Select(r => (r.NextHop!, r.Kind)).Order());
    }

    [Fact]
    public void The_deciding_policy_is_shown_with_the_clause_that_failed_or_the_rule_that_matched()
    {
        var mesh = Shop.Policy("allow-others", Wire.Action.Allow, Wire.Scope.Namespace, rules: new Wire.Rule { Clauses = { new Wire.Clause { Matches = { new Wire.Match { Namespaces = { new Wire.StringMatch { Exact = "other" } } } } } } });
        var said = Inbound(mesh, "pod=default/a&to=10.0.0.2:8080&source=10.0.0.1&identity=spiffe://cluster.local/ns/default/sa/client");
        Assert.Equal(("policy-not-allowed", "AuthorizationPolicy default/allow-others"), (said.Refusal!.Reason, said.Refusal.DecidedBy!.ToString()));
        var rule = Assert.Single(Assert.Single(said.Policies).Rules);
        Assert.Equal(("namespace other", false, "namespace other"), (rule.Text, rule.Matches, rule.FailingClause));
        Assert.Null(Inbound(mesh, "pod=default/a&to=10.0.0.2:8080&source=10.0.0.1&identity=spiffe://cluster.local/ns/other/sa/x").Refusal);
    }

    [Fact]
    public void A_plain_connection_is_judged_without_an_identity()
    {
        var strict = Shop.Policy("istio_converted_static_strict", Wire.Action.Deny, Wire.Scope.Global, "istio-system",
            rules: new Wire.Rule { Clauses = { new Wire.Clause { Matches = { new Wire.Match { NotPrincipals = { new Wire.StringMatch { Presence = new Google.Protobuf.WellKnownTypes.Empty() } } } } } } });
        var said = Inbound(strict, "pod=default/a&to=10.0.0.2:8080&source=10.0.0.9");
        Assert.False(said.IsMutualTls);
        Assert.Equal(("policy-denied", "PeerAuthentication"), (said.Refusal!.Reason, said.Refusal.DecidedBy!.Kind));
    }

    [Fact, Scenario("T-33")]
    public void A_required_waypoint_is_a_step_before_the_policies()
    {
        var mesh = Shop.Pod("gateway", "10.0.0.8", with: w => w.Backs("wp")).Service("wp", "10.1.0.8").Service("server", "10.1.0.1", with: s => s.Waypoint = MeshBuilder.Named("wp"))
            .Policy("anyone", Wire.Action.Allow, Wire.Scope.Namespace, rules: new Wire.Rule());
        const string direct = "pod=default/a&to=10.0.0.2:8080&source=10.0.0.1&identity=spiffe://cluster.local/ns/default/sa/client";
        var said = Inbound(mesh, direct, requiresWaypoint: true);
        Assert.Equal(("policy-not-allowed", "Workload default/a"), (said.Refusal!.Reason, $"{said.Refusal.DecidedBy!.Kind} {said.Refusal.DecidedBy.Name}"));
        var required = Assert.Single(said.RequiredWaypoints);
        Assert.Equal(("Service default/server", "spiffe://cluster.local/ns/default/sa/gateway", false), (required.BoundBy, Assert.Single(required.Identities), required.IsPeer));
        Assert.True(said.MissesItsWaypoint);
        Assert.True(Assert.Single(said.Policies).IsBeyondVerdict);
        Assert.Contains(said.Resources, r => r.Name == "default/wp.default.svc.cluster.local");

        var through = Inbound(mesh, "pod=default/a&to=10.0.0.2:8080&source=10.0.0.8&identity=spiffe://cluster.local/ns/default/sa/gateway", requiresWaypoint: true);
        Assert.Null(through.Refusal);
        Assert.True(Assert.Single(through.RequiredWaypoints).IsPeer);
        Assert.Empty(Inbound(mesh, "pod=default/gateway&to=10.0.0.8:8080&source=10.0.0.1", requiresWaypoint: true).RequiredWaypoints);

        var relaxed = Inbound(mesh, direct);
        Assert.Null(relaxed.Refusal);
        Assert.Empty(relaxed.RequiredWaypoints);
    }

    [Fact]
    public void Nodes_with_the_same_resources_have_the_same_digests_and_with_others_not()
    {
        var one = Outbound(Shop, "from=default/client&to=server:80").Resources;
        Assert.Equal(one, Outbound(Shop, "from=default/client&to=server:80").Resources);
        var changed = Outbound(Shop.Pod("a", "10.0.0.2", with: w => { w.Backs("server"); w.Capacity = 2; }), "from=default/client&to=server:80").Resources;
        Assert.NotEqual(one.Single(r => r.Name.EndsWith("/a", StringComparison.Ordinal)), changed.Single(r => r.Name.EndsWith("/a", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData("to=x:80", 400, "from")]
    [InlineData("from=default/client", 400, "to")]
    [InlineData("from=default/client&to=10.0.0.1", 400, "to")]
    [InlineData("from=default/nobody&to=10.0.0.1:1", 404, "default/nobody")]
    [InlineData("side=sideways&from=default/client&to=10.0.0.1:1", 400, "side")]
    [InlineData("side=inbound&pod=default/a&to=10.0.0.2:80", 400, "source")]
    [InlineData("side=inbound&pod=default/a&to=10.0.0.2:80&source=10.0.0.1&identity=me", 400, "identity")]
    [InlineData("side=inbound&pod=default/a&to=server:80&source=10.0.0.1", 400, "to")]
    public void A_bad_question_names_the_parameter(string query, int status, string named)
    {
        var answer = Ask(Shop, query);
        Assert.Equal(status, answer.Status);
        Assert.Contains(named, System.Text.Encoding.UTF8.GetString(answer.Body.Span), StringComparison.Ordinal);
    }

    private OutboundExplanation Outbound(MeshBuilder mesh, string query) => JsonSerializer.Deserialize(Ask(mesh, query).Body.Span, ExplanationJson.Default.OutboundExplanation)!;

    private InboundExplanation Inbound(MeshBuilder mesh, string query, bool requiresWaypoint = false) => JsonSerializer.Deserialize(Ask(mesh, "side=inbound&" + query, requiresWaypoint).Body.Span, ExplanationJson.Default.InboundExplanation)!;

    private HttpEndpointResponse Ask(MeshBuilder mesh, string query, bool requiresWaypoint = false)
    {
        var registry = new MetricRegistry();
        var clock = new FakeTimeProvider();
        var services = new ProxyServices(mesh.Store, _svids, new ConnectionReports(new TcpMetrics(registry), new AccessLog(NullLoggerFactory.Instance), clock), new ZtunnelSettings { RequireWaypoint = requiresWaypoint }, clock, NullLoggerFactory.Instance);
        return new ExplainPage(services, () => [], "test").Answer(new HttpEndpointRequest("GET", "/debug/explain", query, new Dictionary<string, string>(), default));
    }

    public ValueTask DisposeAsync() => _svids.DisposeAsync();
}
