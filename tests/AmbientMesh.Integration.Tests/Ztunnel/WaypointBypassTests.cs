using System.Net;
using AmbientMesh.Model;
using AmbientMesh.Protocol.Security;
using Google.Protobuf;
using PolicyAction = AmbientMesh.Protocol.Security.Action;
using PolicyMessage = AmbientMesh.Protocol.Security.Authorization;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>Who reaches a service that is bound to a waypoint, and by which way.</summary>
public sealed class WaypointBypassTests(TestMesh mesh) : IClassFixture<TestMesh>
{
    private const string Bound = "default/bound.default.svc.cluster.local";
    private static readonly IPEndPoint Vip = IPEndPoint.Parse("10.1.0.33:80");

    [Fact, Scenario("L4-021", "L4-033", "L4-106", "T-33")]
    public async Task A_client_outside_the_mesh_goes_round_the_waypoint_until_a_policy_says_otherwise()
    {
        var backend = await mesh.EnrollAsync("backend", mesh.Far);
        var app = mesh.Add(PodServer.Echo(backend, 8080));
        var waypoint = await mesh.Network.AddPodAsync("waypoint");
        await using var proxy = WaypointStandIn.Start(mesh.Plane, waypoint, backend, 8080);
        mesh.Plane.Put(TestMesh.WorkloadOf(waypoint, "n3", hbone: true));
        await BindAsync(waypoint.V4);
        mesh.Plane.Put(TestMesh.WorkloadOf(backend, "n2", hbone: true, Serving));
        await mesh.KnownAsync(m => m.FindWorkload("Kubernetes//Pod/default/backend") is { Services.Length: 1 } known && m.FindWorkload("Kubernetes//Pod/default/waypoint") is not null ? known : null);
        await RouteVipAsync(mesh.Plain, TestMesh.At(backend, 8080));

        // The captured client's ztunnel takes it to the waypoint, asking for the address the client asked for.
        Assert.Equal("ping", await PodClient.CallAsync(mesh.Client, Vip));
        Assert.Equal([$"{Vip} spiffe://cluster.local/ns/default/sa/client"], proxy.Asked);
        await mesh.Far.Log.LineAsync("connection complete", "direction=\"inbound\"", "dst.workload=\"backend\"", "src.identity=\"spiffe://cluster.local/ns/default/sa/waypoint\"");
        await mesh.Near.Log.LineAsync("connection complete", "direction=\"outbound\"", $"dst.addr={waypoint.V4}:15008", $"dst.hbone_addr={Vip}", "dst.service=\"bound.default.svc.cluster.local\"");

        // The other's connection is taken to a pod by the cluster's own routing, and nobody asks the waypoint.
        Assert.Equal("ping", await PodClient.CallAsync(mesh.Plain, Vip));
        Assert.Equal(mesh.Plain.V4, app.Peers[^1].Address);
        Assert.Single(proxy.Asked);

        // A policy at the destination closes that way, and any other than the waypoint's.
        await AllowOnlyAsync("cluster.local/ns/default/sa/waypoint", backend);
        var reached = app.Peers.Count;
        Assert.True(await PodClient.FailsAsync(mesh.Plain, Vip));
        var refused = await mesh.Far.Log.LineAsync("connection complete", $"src.addr={mesh.Plain.V4}", "dst.workload=\"backend\"", "error=");
        Assert.Contains("reason=\"policy-not-allowed\" decided_by=\"AuthorizationPolicy default/only-waypoint\"", refused);
        Assert.True(await PodClient.FailsAsync(mesh.Client, TestMesh.At(backend, 8080)));
        Assert.Contains("reason=\"policy-not-allowed\"", await mesh.Far.Log.LineAsync("connection complete", "dst.workload=\"backend\"", "src.identity=\"spiffe://cluster.local/ns/default/sa/client\""));
        Assert.Equal(reached, app.Peers.Count);
        Assert.Equal("ping", await PodClient.CallAsync(mesh.Client, Vip));
        Assert.Equal(2, proxy.Asked.Count);

        // Without its waypoint the service is not reached at all: nothing goes round it.
        mesh.Plane.RemoveAddress("Kubernetes//Pod/default/waypoint");
        await Patience.Within(mesh.Near.App.Mesh.WhenAsync(m => m.FindWorkload("Kubernetes//Pod/default/waypoint") is null ? m : null, Patience.Token).AsTask());
        reached = app.Peers.Count;
        Assert.True(await PodClient.FailsAsync(mesh.Client, Vip));
        await mesh.Near.Log.LineAsync("connection failed", $"dst.addr={Vip}", "reason=\"unknown-waypoint\"");
        Assert.Equal(reached, app.Peers.Count);
    }

    private static void Serving(Wds.Workload workload) =>
        workload.Services[Bound] = new Wds.PortList { Ports = { new Wds.Port { ServicePort = (uint)Vip.Port, TargetPort = 8080 } } };

    private async Task BindAsync(IPAddress waypoint)
    {
        mesh.Plane.Put(new Wds.Service
        {
            Name = "bound",
            Namespace = "default",
            Hostname = "bound.default.svc.cluster.local",
            Addresses = { new Wds.NetworkAddress { Address = ByteString.CopyFrom(Vip.Address.GetAddressBytes()) } },
            Ports = { new Wds.Port { ServicePort = (uint)Vip.Port, TargetPort = 8080 } },
            Waypoint = new Wds.GatewayAddress { Address = new Wds.NetworkAddress { Address = ByteString.CopyFrom(waypoint.GetAddressBytes()) }, HboneMtlsPort = 15008 },
        });
        await mesh.KnownAsync(m => m.Services.FirstOrDefault(s => s.Name == "bound"));
    }

    private async Task AllowOnlyAsync(string principal, PodNamespace backend)
    {
        var match = new Match { Principals = { new StringMatch { Exact = principal } } };
        mesh.Plane.Put(new PolicyMessage { Name = "only-waypoint", Namespace = "default", Action = PolicyAction.Allow, Scope = Scope.WorkloadSelector, Rules = { new Rule { Clauses = { new Clause { Matches = { match } } } } } });
        await mesh.KnownAsync(m => m.FindPolicy(new PolicyName("default", "only-waypoint")));
        mesh.Plane.Put(TestMesh.WorkloadOf(backend, "n2", hbone: true, w =>
        {
            Serving(w);
            w.AuthorizationPolicies.Add("default/only-waypoint");
        }));
        await mesh.KnownAsync(m => m.FindWorkload("Kubernetes//Pod/default/backend") is { Policies.Length: 1 } known ? known : null);
    }

    /// <summary>What the cluster's service routing does for a pod outside the mesh.</summary>
    private static Task RouteVipAsync(PodNamespace pod, IPEndPoint endpoint) =>
        PodNetwork.InAsync(pod, $"iptables -t nat -A OUTPUT -p tcp -d {Vip.Address} --dport {Vip.Port} -j DNAT --to-destination {endpoint}");
}
