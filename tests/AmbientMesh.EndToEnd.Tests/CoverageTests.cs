using System.Text.Json.Nodes;

namespace AmbientMesh.EndToEnd.Tests;

/// <summary>What <c>meshctl coverage</c> says is what is on the nodes.</summary>
public sealed class CoverageTests(ClusterFixture cluster)
{
    [Fact]
    public async Task Enrolled_exempt_and_plaintext_are_told_apart_for_every_pair_of_workloads()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "covered", ambient: true);
        await using var outside = await TestNamespace.CreateAsync(cluster, "uncovered");
        await shop.DeployShopAsync(replicas: 1);
        await outside.DeployShopAsync(replicas: 1);
        await shop.EnrolledAsync();
        await shop.ApplyAsync(Manifests.Pod("apart"));
        await cluster.Run.MustKubectlAsync(Patience.Token, "label", "pod", "-n", shop.Name, "apart", "istio.io/dataplane-mode=none");
        await shop.PodReadyAsync("apart");
        Assert.True((await shop.InClientAsync("get", shop.ServerUrl("inside"))).Succeeded);
        Assert.True((await outside.InClientAsync("get", shop.ServerUrl("from-outside"))).Succeeded);

        var coverage = await new MeshctlRun(cluster).UntilAsync(["coverage", "--all", "-o", "json"], json => Pair(json, shop.Name, shop.Name) is { } own && Pair(json, outside.Name, shop.Name) is { } foreign
            && Count(own, "mutualTls") > 0 && Count(foreign, "plaintext") > 0 && (int)json["pods"]!["gaps"]! == 0 && (int)json["pods"]!["verified"]! == (int)json["pods"]!["expected"]! && Names(json, "exempt").Contains($"{shop.Name}/apart"));

        Assert.Equal(0, Count(Pair(coverage, shop.Name, shop.Name)!, "plaintext"));
        Assert.Equal(0, Count(Pair(coverage, outside.Name, shop.Name)!, "mutualTls"));
        Assert.True((int)coverage["pods"]!["expected"]! >= 2);
        Assert.Equal("opted-out", (string?)coverage["exempt"]!.AsArray().Single(p => (string?)p!["pod"] == $"{shop.Name}/apart")!["reason"]);
        Assert.True((double)coverage["traffic"]!["percentBytesMutualTls"]! is > 0 and < 100);
        Assert.All(coverage["nodes"]!.AsArray(), node => Assert.Equal(("fresh", "fresh"), ((string?)node!["agent"]!["state"], (string?)node["ztunnel"]!["state"])));
    }

    private static IEnumerable<string?> Names(JsonNode coverage, string list) => coverage[list]!.AsArray().Select(p => (string?)p!["pod"]);

    private static JsonNode? Pair(JsonNode coverage, string from, string to) => coverage["pairs"]!.AsArray()
        .FirstOrDefault(p => ((string?)p!["source"]!["namespace"], (string?)p["destination"]!["namespace"]) == (from, to))?["traffic"];

    private static long Count(JsonNode traffic, string security) => (long)traffic[security]!["connections"]!;
}
