using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace AmbientMesh.EndToEnd.Tests;

/// <summary>The command line against the running mesh: what it says is what traffic experiences.</summary>
public sealed partial class MeshctlTests(ClusterFixture cluster)
{
    private readonly MeshctlRun _meshctl = new(cluster);

    [Fact]
    public async Task Status_version_and_ztunnel_config_tell_what_runs()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "seen", ambient: true);
        await shop.DeployShopAsync(replicas: 1);
        await shop.EnrolledAsync();

        var status = await _meshctl.UntilAsync(["status", "-o", "json"], json => (bool)json["fine"]!);
        Assert.Equal(["istiod", "ztunnel", "istio-cni-node"], status["parts"]!.AsArray().Select(p => (string)p!["name"]!));
        Assert.All(status["ztunnels"]!.AsArray(), z => Assert.Equal(["SYNCED", "SYNCED"], z!["types"]!.AsArray().Select(t => (string)t!["state"]!)));
        Assert.All((await _meshctl.MustAsync("version", "-o", "json"))["parts"]!.AsArray(), part => Assert.NotNull((string?)part!["version"]));

        var server = (await shop.PodsAsync()).Single(p => p.App == "server");
        var workloads = (await _meshctl.RunAsync("ztunnel-config", "workloads", "--workload-namespace", shop.Name)).Output;
        Assert.Matches($@"{shop.Name}\s+{server.Name}\s+\S+\s+\S+\s+None\s+HBONE", workloads);
        Assert.Matches($@"{shop.Name}\s+server\s+\S+\s+None\s+1/1", (await _meshctl.RunAsync("ztunnel-config", "services", "--service-namespace", shop.Name)).Output);
        Assert.Contains($"spiffe://cluster.local/ns/{shop.Name}/sa/server", (await _meshctl.RunAsync("ztunnel-config", "certificates")).Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_denial_is_explained_before_it_happens_and_afterwards_by_its_id()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "why", ambient: true);
        await shop.DeployShopAsync(replicas: 1);
        await shop.EnrolledAsync();
        var client = (await shop.PodsAsync()).Single(p => p.App == "client").Name;
        string[] question = ["explain", "--from", $"{shop.Name}/{client}", "--to", $"server.{shop.Name}:80", "-o", "json"];

        var before = await _meshctl.UntilAsync(question, json => (string?)json["verdict"] == "allowed");
        Assert.True((await shop.InClientAsync("get", shop.ServerUrl("explained"))).Succeeded, before.ToJsonString());

        await shop.ApplyAsync("""
            apiVersion: security.istio.io/v1
            kind: AuthorizationPolicy
            metadata: {name: nobody}
            spec: {action: DENY, rules: [{from: [{source: {namespaces: [NAMESPACE]}}]}]}
            """);
        var after = await _meshctl.UntilAsync(question, json => (string?)json["verdict"] == "refused");
        Assert.Equal("policy-denied", (string?)after["reason"]);
        Assert.StartsWith($"AuthorizationPolicy {shop.Name}/nobody", (string?)after["decidedBy"], StringComparison.Ordinal);
        var deciding = Assert.Single(after["decidedByObjects"]!.AsArray());
        Assert.Equal(("AuthorizationPolicy", shop.Name, "nobody", 1), ((string?)deciding!["kind"], (string?)deciding["namespace"], (string?)deciding["name"], (int)deciding["generation"]!));
        Assert.False((await shop.InClientAsync("get", shop.ServerUrl("refused"))).Succeeded);

        var id = await DeniedIdAsync(shop);
        var past = JsonNode.Parse((await _meshctl.RunAsync("explain", "--connection", id, "-o", "json")).Output)!;
        Assert.Equal(["denied-by-peer", "policy-denied"], past["then"]!.AsArray().Select(e => (string?)e!["reason"]));
        var decided = Assert.Single(past["objects"]!.AsArray(), o => (string?)o!["kind"] == "AuthorizationPolicy");
        Assert.False((bool)decided!["changedSince"]!);
        Assert.Equal("refused", (string?)past["now"]!["verdict"]);

        await cluster.Run.MustKubectlAsync(Patience.Token, "delete", "authorizationpolicy", "-n", shop.Name, "nobody");
        await _meshctl.UntilAsync(question, json => (string?)json["verdict"] == "allowed");
        past = JsonNode.Parse((await _meshctl.RunAsync("explain", "--connection", id, "-o", "json")).Output)!;
        Assert.Equal("does not exist any more", (string?)past["objects"]![0]!["text"]);
    }

    [Fact]
    public async Task Without_endpoint_outside_the_mesh_and_under_strict_the_reason_is_named()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "reasons", ambient: true);
        await using var outside = await TestNamespace.CreateAsync(cluster, "outside");
        await shop.DeployShopAsync(replicas: 1);
        await outside.DeployShopAsync(replicas: 1);
        await shop.EnrolledAsync();
        var client = (await shop.PodsAsync()).Single(p => p.App == "client").Name;
        var stranger = (await outside.PodsAsync()).Single(p => p.App == "client").Name;

        var closed = await _meshctl.UntilAsync(["explain", "--from", $"{shop.Name}/{client}", "--to", "server:81", "-o", "json"], json => json["reason"] is not null);
        Assert.Equal("no-healthy-upstream", (string?)closed["reason"]);

        string[] plain = ["explain", "--from", $"{outside.Name}/{stranger}", "--to", $"server.{shop.Name}:80", "-o", "json"];
        var open = await _meshctl.UntilAsync(plain, json => (string?)json["verdict"] == "allowed");
        Assert.False((bool)open["source"]!["captured"]!);
        Assert.True((await outside.InClientAsync("get", shop.ServerUrl("plain"))).Succeeded);

        await shop.ApplyAsync("""
            apiVersion: security.istio.io/v1
            kind: PeerAuthentication
            metadata: {name: default}
            spec: {mtls: {mode: STRICT}}
            """);
        var strict = await _meshctl.UntilAsync(plain, json => (string?)json["verdict"] == "refused");
        Assert.Equal("policy-denied", (string?)strict["reason"]);
        Assert.StartsWith("PeerAuthentication ", (string?)strict["decidedBy"], StringComparison.Ordinal);
        Assert.Contains(strict["decidedByObjects"]!.AsArray(), o => (string?)o!["kind"] == "PeerAuthentication" && (string?)o["namespace"] == shop.Name);
        Assert.StartsWith("Enrol the client", (string?)strict["advice"], StringComparison.Ordinal);
        Assert.False((await outside.InClientAsync("get", shop.ServerUrl("strict"))).Succeeded);
    }

    /// <summary>The connection id in the newest access log line of a denial in the namespace.</summary>
    private async Task<string> DeniedIdAsync(TestNamespace shop)
    {
        var patience = Patience.Token;
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(300));
        while (true)
        {
            var log = await cluster.Run.MustKubectlAsync(patience, "logs", "-n", "istio-system", "-l", "app=ztunnel", "--tail=400");
            var line = log.Split('\n').LastOrDefault(l => l.Contains("reason=\"policy-denied\"", StringComparison.Ordinal) && l.Contains($"{shop.Name}/nobody", StringComparison.Ordinal));
            if (line is not null && ConnectionId().Match(line) is { Success: true } found) return found.Groups[1].Value;
            await timer.WaitForNextTickAsync(patience);
        }
    }

    [GeneratedRegex("connection\\.id=\"?([0-9a-f]{32})")]
    private static partial Regex ConnectionId();
}
