using Security = AmbientMesh.Protocol.Security;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>A namespace with 10,000 policies: each of them counts, and connections are made as before.</summary>
public sealed class CrowdedNamespaceTests(TestMesh mesh) : IClassFixture<TestMesh>
{
    private const int Policies = 10_000;

    [Fact]
    public async Task The_one_of_ten_thousand_that_matches_decides_and_its_end_is_noticed()
    {
        mesh.Plane.Put(Enumerable.Range(0, Policies).Select(i => Denying($"crowd-{i}", i == 7_777 ? "client" : $"nobody-{i}")));
        await Patience.Within(mesh.Far.App.Mesh.WhenAsync(m => m.PolicyCount >= Policies ? m : null, Patience.Token).AsTask());

        Assert.True(await PodClient.FailsAsync(mesh.Client, TestMesh.At(mesh.Server, 8080)));
        await mesh.Far.Log.LineAsync("reason=\"policy-denied\"", "AuthorizationPolicy default/crowd-7777", "direction=\"inbound\"");
        Assert.Equal("ping", await PodClient.CallAsync(mesh.Neighbour, TestMesh.At(mesh.Server, 8080)));

        mesh.Plane.RemovePolicy("default/crowd-7777");
        await Patience.Within(mesh.Far.App.Mesh.WhenAsync(m => m.PolicyCount < Policies ? m : null, Patience.Token).AsTask());
        Assert.Equal("ping", await PodClient.CallAsync(mesh.Client, TestMesh.At(mesh.Server, 8080)));
    }

    private static Security.Authorization Denying(string name, string account) => new()
    {
        Name = name,
        Namespace = "default",
        Scope = Security.Scope.Namespace,
        Action = Security.Action.Deny,
        Rules = { new Security.Rule { Clauses = { new Security.Clause { Matches = { new Security.Match { Principals = { new Security.StringMatch { Exact = $"cluster.local/ns/default/sa/{account}" } } } } } } } },
    };
}
