using AmbientMesh.Model;
using AmbientMesh.Protocol.Security;
using Google.Protobuf;
using PolicyAction = AmbientMesh.Protocol.Security.Action;
using PolicyMessage = AmbientMesh.Protocol.Security.Authorization;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>Policies as traffic experiences them, over tunnels and in plain TCP.</summary>
public sealed class PolicyTrafficTests(TestMesh mesh) : IClassFixture<TestMesh>
{
    [Fact, Scenario("L4-090")]
    public async Task Whom_no_allow_policy_names_is_answered_401_and_both_logs_say_so()
    {
        var guarded = await GuardedAsync("guarded-allow", new Match { Principals = { Exactly("cluster.local/ns/default/sa/somebody") } });
        Assert.True(await PodClient.FailsAsync(mesh.Client, TestMesh.At(guarded, 8080)));
        await mesh.Near.Log.LineAsync("connection complete", "direction=\"outbound\"", "dst.workload=\"guarded-allow\"", "error=\"http status: 401 Unauthorized\"");
        await mesh.Far.Log.LineAsync("connection complete", "direction=\"inbound\"", "dst.workload=\"guarded-allow\"", "allow policies exist, but none allowed\"");
        await using var tunnel = await HbonePeer.ConnectAsync(mesh.Plane, mesh.Stranger, guarded);
        Assert.Equal(401, await HbonePeer.AskAsync(tunnel, $"{guarded.V4}:8080"));
    }

    [Fact, Scenario("L4-095")]
    public async Task A_plaintext_client_has_an_address_and_no_principal()
    {
        var byName = await GuardedAsync("guarded-name", new Match { Principals = { Exactly("cluster.local/ns/default/sa/plain") } });
        var byAddress = await GuardedAsync("guarded-address", new Match { SourceIps = { new Address { Address_ = ByteString.CopyFrom(mesh.Plain.V4.GetAddressBytes()), Length = 32 } } });
        Assert.True(await PodClient.FailsAsync(mesh.Plain, TestMesh.At(byName, 8080)));
        Assert.Equal("ping", await PodClient.CallAsync(mesh.Plain, TestMesh.At(byAddress, 8080)));
        Assert.True(await PodClient.FailsAsync(mesh.Stranger, TestMesh.At(byAddress, 8080)));
    }

    [Fact, Scenario("L4-097")]
    public async Task Ports_are_those_of_the_pod_and_not_the_tunnels()
    {
        var guarded = await GuardedAsync("guarded-port", new Match { DestinationPorts = { 8080, 15008 } });
        mesh.Add(PodServer.Echo(guarded, 9090));
        Assert.Equal("ping", await PodClient.CallAsync(mesh.Client, TestMesh.At(guarded, 8080)));
        Assert.True(await PodClient.FailsAsync(mesh.Client, TestMesh.At(guarded, 9090)));
        await mesh.Far.Log.LineAsync("connection complete", "direction=\"inbound\"", $"dst.hbone_addr={TestMesh.At(guarded, 9090)}", "reason=\"policy-not-allowed\"");
    }

    [Fact, Scenario("L4-106")]
    public async Task Nothing_allowed_everywhere_and_the_waypoint_allowed_here_leaves_the_waypoint_alone()
    {
        var guarded = await GuardedAsync("guarded-way", new Match { Principals = { Exactly("cluster.local/ns/default/sa/waypoint") } });
        mesh.Plane.Put(new PolicyMessage { Name = "allow-nothing", Namespace = "istio-system", Action = PolicyAction.Allow, Scope = Scope.Global });
        await mesh.KnownAsync(m => m.FindPolicy(new PolicyName("istio-system", "allow-nothing")));
        try
        {
            Assert.True(await PodClient.FailsAsync(mesh.Client, TestMesh.At(guarded, 8080)));
            await using var waypoint = await HbonePeer.ConnectAsync(mesh.Plane, mesh.Stranger, guarded, mesh.Plane.Authority.IssueSvid(new SpiffeId("cluster.local", "default", "waypoint")));
            Assert.Equal(200, await HbonePeer.AskAsync(waypoint, $"{guarded.V4}:8080"));
            Assert.True(await PodClient.FailsAsync(mesh.Client, TestMesh.At(mesh.Server, 8080)));   // nobody else is allowed anything
        }
        finally
        {
            mesh.Plane.RemovePolicy("istio-system/allow-nothing");
            await mesh.KnownAsync(m => m.FindPolicy(new PolicyName("istio-system", "allow-nothing")) is null ? m : null);
        }
    }

    /// <summary>A captured pod on the far node that echoes on 8080 and allows only what matches.</summary>
    private async Task<PodNamespace> GuardedAsync(string name, Match match)
    {
        mesh.Plane.Put(new PolicyMessage { Name = name, Namespace = "default", Action = PolicyAction.Allow, Scope = Scope.WorkloadSelector, Rules = { new Rule { Clauses = { new Clause { Matches = { match } } } } } });
        await mesh.KnownAsync(m => m.FindPolicy(new PolicyName("default", name)));
        var pod = await mesh.EnrollAsync(name, mesh.Far, workload => workload.AuthorizationPolicies.Add($"default/{name}"));
        mesh.Add(PodServer.Echo(pod, 8080));
        return pod;
    }

    private static StringMatch Exactly(string principal) => new() { Exact = principal };
}
