using System.Net;
using AmbientMesh.Hbone;
using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Model.Explanation;
using AmbientMesh.Ztunnel.Configuration;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.Explain;
using AmbientMesh.Ztunnel.Inbound;
using AmbientMesh.Ztunnel.Outbound;
using FsCheck;
using FsCheck.Fluent;

namespace AmbientMesh.Ztunnel.Tests.Explain;

/// <summary>In meshes made at random, what is explained is what the data plane decides, and nothing else.</summary>
public sealed class ExplanationEqualsDecisionTests
{
    private const int Draws = 24;
    private static readonly ExplainSettings s_settings = ExplainSettings.Of(new ZtunnelSettings());
    private static readonly ExplainSettings s_strictSettings = ExplainSettings.Of(new ZtunnelSettings { RequireWaypoint = true });
    private static readonly Config s_config = Config.QuickThrowOnFailure.WithMaxTest(60);

    [Fact]
    public void Every_way_a_connection_takes_is_explained_and_every_explained_way_is_taken_in_its_share() => FsCheck.Check.One(s_config, Prop.ForAll<int>(seed =>
    {
        var world = new RandomMesh(seed);
        foreach (var source in world.Pods)
            foreach (var destination in world.Destinations())
            {
                var explained = OutboundExplainer.Captured(world.Mesh, source, HboneAuthority.Of(destination), s_settings);
                var ways = explained.Routes.Select(KeyOf).ToHashSet();
                Assert.NotEmpty(ways);
                if (!explained.HasMoreRoutes) Assert.Equal(1, explained.Routes.Sum(r => r.Share), 6);
                Assert.All(explained.Routes, route => Assert.True(route.Share > 0));
                for (var draw = 0; draw < Draws; draw++)
                {
                    var decided = OutboundRouter.Decide(world.Mesh, source, destination, new OutboundSettings("", new Random((seed * Draws) + draw)));
                    Assert.True(explained.HasMoreRoutes || ways.Contains(KeyOf(decided)), $"seed {seed}: {source.Name} to {destination} goes {KeyOf(decided)}; explained: {string.Join("; ", ways)}");
                }
            }
    }));

    [Fact]
    public void Whoever_is_let_in_or_refused_is_explained_so_with_the_same_reason_and_object() => Arrivals_are_explained(s_settings);

    [Fact, Scenario("T-33")]
    public void Where_waypoints_are_required_who_is_let_in_is_explained_so_as_well() => Arrivals_are_explained(s_strictSettings);

    private static void Arrivals_are_explained(ExplainSettings settings) => FsCheck.Check.One(s_config, Prop.ForAll<int>(seed =>
    {
        var world = new RandomMesh(seed);
        foreach (var local in world.Pods.Where(p => !p.Addresses.IsEmpty))
            foreach (var client in world.Pods.Where(p => !p.Addresses.IsEmpty))
                foreach (var destination in world.Destinations().Where(d => d.Port != 15001))
                {
                    var tunnel = InboundExplainer.Hbone(world.Mesh, local, local.Addresses[0], HboneAuthority.Of(destination), client.Identity, client.Addresses[0], settings);
                    Assert.Equal(Tunnelled(world.Mesh, local, destination, client, settings), RefusalOf(tunnel));
                    var plain = InboundExplainer.Plaintext(world.Mesh, local, destination, client.Addresses[0], settings);
                    Assert.Equal(Plain(world.Mesh, local, destination, client, settings), RefusalOf(plain));
                }
    }));

    /// <summary>What the HBONE server does with a request: the authority first, then whether it came from the waypoint, then policy.</summary>
    private static string? Tunnelled(MeshSnapshot mesh, Workload local, IPEndPoint asked, Workload client, ExplainSettings settings) => InboundAdmission.Decide(mesh, local, local.Addresses[0], HboneAuthority.Of(asked), settings.Inbound) switch
    {
        InboundDecision.Rejected rejected => TextOf(rejected.Reason),
        InboundDecision.Admitted admitted => Policy(mesh, local, admitted.Facts(client.Identity, client.Addresses[0]), settings),
        _ => "neither",
    };

    private static string? Plain(MeshSnapshot mesh, Workload local, IPEndPoint asked, Workload client, ExplainSettings settings) =>
        PlaintextAdmission.Decide(asked) is { } refused ? TextOf(refused) : Policy(mesh, local, new ConnectionFacts(null, client.Addresses[0], asked), settings);

    private static string? Policy(MeshSnapshot mesh, Workload local, ConnectionFacts facts, ExplainSettings settings)
    {
        if (settings.RequiresWaypoint && WaypointRequirement.Problem(mesh, local, facts.Peer) is { } bypassed) return TextOf(bypassed);
        var policies = Authorizer.PoliciesOf(mesh, local);
        var verdict = Authorizer.Decide(mesh, local, facts);
        return verdict is AuthorizationVerdict.Allowed ? null : TextOf(CloseReason.Policy(verdict, PolicyDecider.Of(policies, verdict, facts)));
    }

    private static string? RefusalOf(InboundExplanation said)
    {
        // Of the policies listed, the one that denied must be shown as matching.
        if (said.Refusal is { Reason: "policy-denied", DecidedBy: { } decider } && decider.Kind == "AuthorizationPolicy")
            Assert.Contains(said.Policies, p => p is { Matches: true, Action: "DENY", IsDryRun: false } && decider.Name == p.Resource);
        return said.Refusal is { } refusal ? $"{refusal.Reason}|{refusal.Text}|{refusal.DecidedBy}" : null;
    }

    private static string TextOf(CloseReason reason) => $"{reason.Reason.Word()}|{reason.Text}|{reason.DecidedBy}";

    private static string KeyOf(RouteReport route) => route.Kind switch
    {
        RouteKind.Refused => $"refused {route.Refusal!.Reason} {route.Refusal.Text}",
        RouteKind.DoubleHbone => $"double {route.NextHop} {route.Authority} {route.Peer!.Uid}",
        RouteKind.Hbone => $"hbone {route.NextHop} {route.Authority} {route.Peer!.Uid} {string.Join(",", route.ExpectedIdentities)}",
        _ => $"tcp {route.NextHop} {route.Peer?.Uid}",
    };

    private static string KeyOf(OutboundRoute route) => route switch
    {
        OutboundRoute.Refused refused => $"refused {refused.Reason.Reason.Word()} {refused.Reason.Text}",
        OutboundRoute.DoubleHbone remote => $"double {remote.Gateway} {remote.Authority} {remote.Peer.Uid}",
        OutboundRoute.Hbone tunnel => $"hbone {tunnel.NextHop} {tunnel.Authority} {tunnel.Peer.Uid} {string.Join(",", tunnel.Identities)}",
        OutboundRoute.Plaintext plain => $"tcp {plain.Destination} {plain.Peer?.Uid}",
        _ => "",
    };
}
