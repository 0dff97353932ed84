using System.Text.Json.Nodes;
using System.Threading.Channels;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.Integration.Tests.Kubernetes;

/// <summary>Our client against an API server with discovery, RBAC, managed fields and real tokens, over HTTP/2 and TLS.</summary>
public sealed class ClientInAClusterTests
{
    [Fact]
    public async Task An_informer_follows_what_happens_to_pods()
    {
        await using var cluster = await ClusterApi.StartAsync();
        using var stop = new CancellationTokenSource();
        await cluster.RunPodAsync("default", "a", "default", "node-1");
        var pods = new Informer<Pod>(cluster.Admin.Of<Pod>(), new InformerOptions { Selection = new Selection { Namespace = "default" } });
        var changes = pods.Subscribe();
        var running = pods.RunAsync(stop.Token);
        Assert.Equal("Added default/a", await NextAsync(changes));
        Assert.Equal(ChangeKind.Synced, (await changes.ReadAsync(Patience.Token)).Kind);
        await cluster.Admin.Of<Pod>().PatchAsync("default", "a", Patch.Strategic(ClusterApi.Json("""{"metadata":{"labels":{"x":"y"}}}""")), null, Patience.Token);
        Assert.Equal("Modified default/a", await NextAsync(changes));
        Assert.Equal("y", pods.Get("default", "a")!.Metadata.Labels["x"]);
        await cluster.Admin.Of<Pod>().DeleteAsync("default", "a", new DeleteOptions { GracePeriodSeconds = 0 }, Patience.Token);
        var last = "";
        while (last != "Deleted default/a") last = await NextAsync(changes);
        Assert.Empty(pods.Items);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
    }

    [Fact]
    public async Task A_field_that_another_manager_owns_is_a_conflict_until_it_is_taken_by_force()
    {
        await using var cluster = await ClusterApi.StartAsync();
        static JsonObject Map(string value) => ClusterApi.Json($$$"""{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"default","name":"m"},"data":{"k":"{{{value}}}"}}""");
        await cluster.ApplyAsync(Map("one"), "alice");
        var conflict = await Assert.ThrowsAsync<KubernetesRefusedException>(() => cluster.ApplyAsync(Map("two"), "bob"));
        Assert.True(conflict.IsConflict);
        Assert.Contains("alice", conflict.Message);
        Assert.Equal("two", (string?)(await cluster.ApplyAsync(Map("two"), "bob", force: true))["data"]!["k"]);

        var stale = (await cluster.Admin.Of<ConfigMap>().GetAsync("default", "m", Patience.Token))!;
        await cluster.Admin.Of<ConfigMap>().ReplaceAsync(stale with { Data = new Dictionary<string, string> { ["k"] = "three" } }, null, Patience.Token);
        Assert.True((await Assert.ThrowsAsync<KubernetesRefusedException>(() => cluster.Admin.Of<ConfigMap>().ReplaceAsync(stale, null, Patience.Token))).IsConflict);
    }

    [Fact]
    public async Task Of_two_candidates_one_leads_and_the_other_follows_when_it_ends()
    {
        await using var cluster = await ClusterApi.StartAsync();
        var terms = Channel.CreateUnbounded<string>();
        using var stopA = new CancellationTokenSource();
        using var stopB = new CancellationTokenSource();
        var a = Candidate("a").RunAsync(c => Lead("a", c), stopA.Token);
        Assert.Equal("a", await terms.Reader.ReadAsync(Patience.Token));
        var b = Candidate("b").RunAsync(c => Lead("b", c), stopB.Token);
        await stopA.CancelAsync();
        Assert.Equal("b", await terms.Reader.ReadAsync(Patience.Token));
        Assert.Equal("b", (await cluster.Admin.Of<Lease>().GetAsync("default", "l", Patience.Token))!.Spec.HolderIdentity);
        await stopB.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Task.WhenAll(a, b));

        LeaderElection Candidate(string name) => new(cluster.Admin, new LeaderElectionOptions { Namespace = "default", LeaseName = "l", Identity = name, RetryPeriod = TimeSpan.FromMilliseconds(200) });
        async Task Lead(string name, CancellationToken cancellationToken)
        {
            terms.Writer.TryWrite(name);
            await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, cancellationToken);
        }
    }

    [Fact]
    public async Task Events_are_accepted_counted_and_listed_by_their_object()
    {
        await using var cluster = await ClusterApi.StartAsync();
        await cluster.RunPodAsync("default", "a", "default", "node-1");
        var pod = (await cluster.Admin.Of<Pod>().GetAsync("default", "a", Patience.Token))!;
        await using (var events = new EventRecorder(cluster.Admin, "istio-cni-node", "node-1"))
            for (var i = 0; i < 3; i++) events.Record(pod, warning: true, "FailedEnrollment", "no ztunnel");
        var found = await cluster.Admin.Of<Event>().ListAsync(new Selection { Namespace = "default", FieldSelector = $"involvedObject.uid={pod.Metadata.Uid}" }, Patience.Token);
        Assert.Equal(3, Assert.Single(found.Items).Count);
    }

    [Fact]
    public async Task Rights_that_are_missing_are_a_refusal_that_says_which()
    {
        await using var cluster = await ClusterApi.StartAsync();
        using var nobody = await cluster.ClientOfAsync("default", "default");
        var refusal = await Assert.ThrowsAsync<KubernetesRefusedException>(() => nobody.Of<Secret>().ListAsync(Selection.All, Patience.Token));
        Assert.True(refusal.IsForbidden);
        Assert.Contains("system:serviceaccount:default:default", refusal.Message);
    }

    private static async Task<string> NextAsync(ChannelReader<Change<Pod>> changes) => await changes.ReadAsync(Patience.Token) is var change ? $"{change.Kind} {change.Key}" : "";
}
