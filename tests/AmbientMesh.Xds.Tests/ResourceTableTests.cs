using FsCheck;
using FsCheck.Fluent;

namespace AmbientMesh.Xds.Tests;

/// <summary>Snapshots and what changed between them.</summary>
public sealed class ResourceTableTests
{
    [Fact]
    public void A_batch_that_changes_nothing_makes_no_snapshot_and_no_noise()
    {
        var table = new ResourceTable(TypeUrls.Address);
        var notified = 0;
        using (table.OnChanged(() => notified++))
        {
            Assert.True(table.Update([Loopback.Workload("a")]));
            var before = table.Current;
            Assert.False(table.Update([Loopback.Workload("a")], ["no such name"]));
            Assert.Same(before, table.Current);
        }
        table.Update([Loopback.Workload("b")]);
        Assert.Equal(1, notified);
    }

    [Fact]
    public void Replacing_everything_removes_what_is_missing()
    {
        var table = new ResourceTable(TypeUrls.Address);
        table.Update([Loopback.Workload("a"), Loopback.Workload("b")]);
        var before = table.Current;
        Assert.True(table.Replace([Loopback.Workload("b"), Loopback.Workload("c")]));
        Assert.Equal(["Kubernetes//Pod/default/a", "Kubernetes//Pod/default/c"], table.Current.ChangedSince(before).Order());
        Assert.False(table.Replace([Loopback.Workload("c"), Loopback.Workload("b")]));
    }

    [Fact]
    public void Aliases_and_groups_follow_their_resource()
    {
        var table = new ResourceTable(TypeUrls.Address);
        table.Update([Loopback.Workload("a", ip: "10.0.0.1"), Loopback.Workload("b", ip: "10.0.0.1")]);
        Assert.Equal(["Kubernetes//Pod/default/a", "Kubernetes//Pod/default/b"], table.Current.WithAlias("/10.0.0.1"));
        table.Update([Loopback.Workload("a", node: "n2", ip: "10.0.0.2")], ["Kubernetes//Pod/default/b"]);
        Assert.Empty(table.Current.WithAlias("/10.0.0.1"));
        Assert.Equal(["Kubernetes//Pod/default/a"], table.Current.WithAlias("/10.0.0.2"));
        Assert.Empty(table.Current.InGroup(ResourceGroups.OfNode("n1")));
    }

    [Fact]
    public void Versions_are_the_hash_of_the_bytes()
    {
        var resource = Loopback.Workload("a");
        Assert.Equal(resource.Version, Loopback.Workload("a").Version);
        Assert.NotEqual(resource.Version, Loopback.Workload("a", revision: "v2").Version);
        Assert.Matches("^[0-9a-f]{16}$", resource.Version);
        Assert.Equal("", Loopback.Policy("p").Version);
    }

    /// <summary>Whatever happens in a table, a client that takes pushes now and then ends with its content, and gets nothing it has already.</summary>
    [Fact]
    public void A_client_always_ends_with_what_the_table_holds() => Prop.ForAll(Gen.Choose(0, int.MaxValue).ToArbitrary(), seed =>
    {
        var random = new System.Random(seed);
        var table = new ResourceTable(TypeUrls.Address);
        var session = new DeltaSession([table], Loopback.Node(), new DeltaRequestLimits());
        Dictionary<string, string> held = [];
        session.Receive(new() { Node = Loopback.Node(), TypeUrl = TypeUrls.Address });
        for (var i = 0; i < 60; i++)
        {
            Change(table, random);
            if (random.Next(3) == 0) Take(session, held);
        }
        Take(session, held);
        Assert.Equal(table.Current.Resources.ToDictionary(r => r.Key, r => r.Value.Version), held);
    }).QuickCheckThrowOnFailure();

    private static void Change(ResourceTable table, System.Random random)
    {
        var name = $"w{random.Next(8)}";
        if (random.Next(3) == 0) table.Update([], [$"Kubernetes//Pod/default/{name}"]);
        else table.Update([Loopback.Workload(name, revision: $"v{random.Next(3)}")]);
    }

    private static void Take(DeltaSession session, Dictionary<string, string> held)
    {
        foreach (var response in session.Due())
        {
            foreach (var resource in response.Resources)
            {
                Assert.False(held.TryGetValue(resource.Name, out var version) && version == resource.Version, "sent what the client has");
                held[resource.Name] = resource.Version;
            }
            foreach (var name in response.RemovedResources) Assert.True(held.Remove(name), "removed what the client never had");
            session.Receive(new() { TypeUrl = response.TypeUrl, ResponseNonce = response.Nonce });
        }
    }
}
