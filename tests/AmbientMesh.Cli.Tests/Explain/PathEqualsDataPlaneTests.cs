using System.Net;
using AmbientMesh.Cli.Explain;
using AmbientMesh.Hbone;
using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Model.Explanation;
using AmbientMesh.Ztunnel.Configuration;
using AmbientMesh.Ztunnel.Explain;
using AmbientMesh.Ztunnel.Inbound;
using AmbientMesh.Ztunnel.Outbound;
using AmbientMesh.Ztunnel.Tests.Explain;
using FsCheck;
using FsCheck.Fluent;
using Outcome = AmbientMesh.Cli.Explain.Outcome;

namespace AmbientMesh.Cli.Tests.Explain;

/// <summary>Over random meshes: the verdict meshctl reaches from both halves is what the two ztunnels do, one after the other.</summary>
public sealed class PathEqualsDataPlaneTests
{
    private const int Draws = 4;
    private static readonly ExplainSettings s_settings = ExplainSettings.Of(new ZtunnelSettings());

    [Fact]
    public void The_verdict_and_its_reason_are_those_of_the_data_plane() => FsCheck.Check.One(Config.QuickThrowOnFailure.WithMaxTest(40), Prop.ForAll<int>(seed =>
    {
        var world = new RandomMesh(seed);
        foreach (var source in world.Pods.Where(p => !p.Addresses.IsEmpty))
            foreach (var destination in world.Destinations())
            {
                var outbound = OutboundExplainer.Captured(world.Mesh, source, HboneAuthority.Of(destination), s_settings) with { ServedAs = "Up" };
                for (var draw = 0; draw < Draws; draw++)
                {
                    var decided = OutboundRouter.Decide(world.Mesh, source, destination, new OutboundSettings("", new Random((seed * Draws) + draw)));
                    if (outbound.Routes.FirstOrDefault(r => IsThat(r, decided)) is not { } route) continue;   // more ways than are listed; that none is missed is tested at the ztunnel
                    var outcome = Judge(world.Mesh, source, outbound, route);
                    Assert.Equal(DoneWith(world.Mesh, source, decided), (outcome.IsAllowed, outcome.Reason));
                }
            }
    }));

    private static Outcome Judge(MeshSnapshot mesh, Workload source, OutboundExplanation outbound, RouteReport route)
    {
        if (route.Refusal is not null || route.IsThroughWaypoint || route.Peer is null) return BranchJudgement.Judge(outbound, route, true, null, null);
        var local = mesh.FindWorkload(route.Peer.Uid)!;
        var hop = IPEndPoint.Parse(route.NextHop!);
        HboneAuthority.TryParse(route.Authority ?? "", out var authority);
        var inbound = route.Kind == RouteKind.Hbone
            ? InboundExplainer.Hbone(mesh, local, hop.Address, authority!, source.Identity, source.Addresses[0], s_settings)
            : InboundExplainer.Plaintext(mesh, local, hop, source.Addresses[0], s_settings);
        return BranchJudgement.Judge(outbound, route, true, local.SpeaksHbone, inbound with { ServedAs = "Up" });
    }

    /// <summary>What the proxies do with a route: the source's refuses or dials, the destination's checks the authority and then asks policy.</summary>
    private static (bool? IsAllowed, string Reason) DoneWith(MeshSnapshot mesh, Workload source, OutboundRoute decided)
    {
        switch (decided)
        {
            case OutboundRoute.Refused refused:
                return (false, refused.Reason.Reason.Word());
            case OutboundRoute.DoubleHbone:
                return (false, Reason.RemoteNetwork.Word());
            case OutboundRoute.Plaintext { Peer: { SpeaksHbone: true } peer } plain:
                return PlaintextAdmission.Decide(plain.Destination) is { } selfCall ? (false, selfCall.Reason.Word()) : Policy(mesh, peer, new ConnectionFacts(null, source.Addresses[0], plain.Destination));
            case OutboundRoute.Hbone tunnel when !tunnel.NextHop.Address.Equals(tunnel.Authority.Address):
                return (null, "");   // the waypoint decides
            case OutboundRoute.Hbone tunnel:
                return InboundAdmission.Decide(mesh, tunnel.Peer, tunnel.NextHop.Address, tunnel.Authority, s_settings.Inbound) switch
                {
                    InboundDecision.Admitted admitted => Policy(mesh, tunnel.Peer, admitted.Facts(source.Identity, source.Addresses[0])),
                    InboundDecision.Rejected rejected => (false, rejected.Reason.Reason.Word()),
                    _ => (null, "neither"),
                };
            default:
                return (true, "");
        }
    }

    private static (bool? IsAllowed, string Reason) Policy(MeshSnapshot mesh, Workload local, ConnectionFacts facts) => Authorizer.Decide(mesh, local, facts) switch
    {
        AuthorizationVerdict.Allowed => (true, ""),
        AuthorizationVerdict.NotAllowed => (false, Reason.PolicyNotAllowed.Word()),
        _ => (false, Reason.PolicyDenied.Word()),
    };

    private static bool IsThat(RouteReport route, OutboundRoute decided) => decided switch
    {
        OutboundRoute.Refused refused => route.Kind == RouteKind.Refused && route.Refusal!.Text == refused.Reason.Text,
        OutboundRoute.DoubleHbone remote => route.Kind == RouteKind.DoubleHbone && route.Authority == remote.Authority.ToString(),
        OutboundRoute.Hbone tunnel => route.Kind == RouteKind.Hbone && route.NextHop == tunnel.NextHop.ToString() && route.Authority == tunnel.Authority.ToString() && route.Peer!.Uid == tunnel.Peer.Uid,
        OutboundRoute.Plaintext plain => route.Kind == RouteKind.Tcp && route.NextHop == plain.Destination.ToString() && route.Peer?.Uid == plain.Peer?.Uid,
        _ => false,
    };
}
