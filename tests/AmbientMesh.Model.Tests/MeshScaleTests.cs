using AmbientMesh.Model.Authorization;

namespace AmbientMesh.Model.Tests;

/// <summary>What one change costs in a large mesh.</summary>
public sealed class MeshScaleTests
{
    private const int Pods = 50_000;

    private static MeshBuilder Large()
    {
        var mesh = new MeshBuilder("n1");
        mesh.Store.Edit(edit =>
        {
            for (var i = 0; i < Pods; i++) edit.Set(MeshBuilder.PodOf($"p{i}", $"10.{i >> 16}.{(i >> 8) & 255}.{i & 255}", with: w => { w.Backs($"s{i / 10}"); w.Node = $"n{i % 1000}"; }));
            for (var i = 0; i < Pods / 10; i++) edit.Set(MeshBuilder.ServiceOf($"s{i}", $"10.96.{i >> 8}.{i & 255}"));
        });
        return mesh;
    }

    [Fact]
    public void One_changed_pod_of_fifty_thousand_allocates_no_more_than_a_few_paths_of_the_trees()
    {
        var mesh = Large();
        Assert.Equal((Pods, Pods / 10), (mesh.Mesh.WorkloadCount, mesh.Mesh.ServiceCount));
        var changed = MeshBuilder.PodOf("p777", "10.200.0.1", with: w => w.Backs("s77"));
        var policies = mesh.Mesh;
        var before = GC.GetAllocatedBytesForCurrentThread();
        mesh.Store.Edit(edit => edit.Set(changed));
        var spent = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.True(spent < 32 * 1024, $"{spent} bytes were allocated");
        Assert.True(mesh.Mesh.HasSamePolicies(policies));
    }

    [Fact]
    public void Policies_of_other_namespaces_are_not_looked_at()
    {
        var mesh = new MeshBuilder().Pod("server", "10.0.0.2");
        mesh.Store.Edit(edit =>
        {
            for (var i = 0; i < 10_000; i++) edit.Set(new AuthorizationPolicy { Key = new PolicyName($"ns{i}", "p"), Scope = PolicyScope.Namespace });
        });
        Assert.Empty(Authorizer.PoliciesOf(mesh.Mesh, mesh.Find("server")).Enforced);
    }
}
