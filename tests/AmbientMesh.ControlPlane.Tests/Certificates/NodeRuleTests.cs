using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Identity;
using AmbientMesh.Rpc;

namespace AmbientMesh.ControlPlane.Tests.Certificates;

public sealed class NodeRuleTests
{
    private const string Opaque = "request impersonation authentication failure";

    [Fact]
    [Scenario("L4-139", "L4-142")]
    public async Task A_node_proxy_gets_a_certificate_for_what_runs_on_its_node()
    {
        await using var world = await CaWorld.StartAsync();
        // The CSR asks for another name than the metadata: what counts is the latter.
        var answer = await world.AskAsync(CaWorld.Request(impersonated: "spiffe://cluster.local/ns/default/sa/server"));
        Assert.Equal(2, answer.CertChain.Count);   // leaf, root: a self-signed CA has no intermediate
        using var leaf = Assert.Single(PemBlocks.Certificates(answer.CertChain[0]));
        Assert.Contains("spiffe://cluster.local/ns/default/sa/server", UriOf(leaf));
        Assert.Equal(world.Authority.Current.Roots.Pem, answer.CertChain[^1]);
        Assert.Equal(new DateTime(2026, 11, 22, 1, 23, 23, DateTimeKind.Utc), leaf.NotAfter.ToUniversalTime());
        Assert.Contains(world.Log.Lines, l => l.Contains("issued a certificate for spiffe://cluster.local/ns/default/sa/server") && l.Contains("ztunnel-abcde"));
    }

    [Fact]
    [Scenario("L4-142")]
    public async Task Without_metadata_the_certificate_is_the_callers_own_whatever_the_CSR_says()
    {
        await using var world = await CaWorld.StartAsync();
        var answer = await world.AskAsync(CaWorld.Request(impersonated: null));
        using var leaf = PemBlocks.Certificates(answer.CertChain[0])[0];
        Assert.Contains("spiffe://cluster.local/ns/istio-system/sa/ztunnel", UriOf(leaf));
    }

    [Theory]
    [Scenario("L4-140", "T-22")]
    [InlineData("spiffe://cluster.local/ns/default/sa/elsewhere", "node node-1 runs no pod")]
    [InlineData("spiffe://cluster.local/ns/default/sa/nobody", "node node-1 runs no pod")]
    [InlineData("spiffe://cluster.local/ns/other/sa/client", "node node-1 runs no pod")]
    [InlineData("spiffe://cluster.local/ns/default/sa/failed", "node node-1 runs no pod")]
    [InlineData("spiffe://evil.example/ns/default/sa/client", "trust domain")]
    [InlineData("spiffe://cluster.local/ns/default/sa/client/more", "cannot be read")]
    [InlineData("client", "cannot be read")]
    public async Task An_identity_that_does_not_run_on_the_callers_node_is_refused_without_saying_why(string asked, string logged)
    {
        await using var world = await CaWorld.StartAsync();
        var refusal = await world.RefusedAsync(CaWorld.Request(asked));
        Assert.Equal((StatusCode.Unauthenticated, Opaque), (refusal.Code, refusal.Detail));
        Assert.Contains(world.Log.Lines, l => l.Contains(logged));
    }

    [Fact]
    [Scenario("L4-140", "T-22")]
    public async Task A_caller_that_is_not_the_trusted_pod_it_was_is_refused()
    {
        await using var world = await CaWorld.StartAsync();
        var strangers = new Dictionary<string, (System.Text.Json.Nodes.JsonObject Review, string Logged)>
        {
            ["a.account.x"] = (Reviews.Account("default", "client", "client-1", "uid-of-client-1"), "not a trusted node account"),
            ["a.namespace.x"] = (Reviews.Account("default", "ztunnel", "client-1", "uid-of-client-1"), "not a trusted node account"),
            ["stale.uid.x"] = (Reviews.Ztunnel(uid: "uid-of-its-predecessor"), "its token was made for"),
            ["unknown.pod.x"] = (Reviews.Ztunnel(pod: "ztunnel-zzzzz"), "is not known"),
            ["unbound.token.x"] = (Reviews.Account("istio-system", "ztunnel", null, null), "not bound to a pod"),
        };
        world.Api.Review = token => strangers[token].Review;
        foreach (var (token, expected) in strangers)
        {
            var refusal = await world.RefusedAsync(CaWorld.Request(), token);
            Assert.Equal((StatusCode.Unauthenticated, Opaque), (refusal.Code, refusal.Detail));
            Assert.Contains(world.Log.Lines, l => l.Contains(expected.Logged));
        }
        Assert.Contains("citadel_server_authentication_failure_count 5", world.Exposed());
    }

    [Fact]
    [Scenario("L4-140")]
    public async Task A_pod_with_the_proxys_name_but_another_account_is_refused()
    {
        await using var world = await CaWorld.StartAsync();
        await Changed(world, () => CaWorld.PutPod(world.Api, "istio-system", "ztunnel-abcde", "impostor", "node-1", uid: "uid-of-ztunnel"));
        Assert.Equal(Opaque, (await world.RefusedAsync(CaWorld.Request())).Detail);
    }

    [Fact]
    [Scenario("T-22")]
    public async Task The_identity_is_refused_again_once_its_last_pod_has_left_the_node()
    {
        await using var world = await CaWorld.StartAsync();
        await world.AskAsync(CaWorld.Request());
        await Changed(world, () => world.Api.Remove("/api/v1/namespaces/default/pods/client-1"));
        Assert.Equal(Opaque, (await world.RefusedAsync(CaWorld.Request())).Detail);
    }

    [Fact]
    [Scenario("L4-140")]
    public async Task Without_trusted_accounts_nobody_may_ask_for_others()
    {
        await using var world = await CaWorld.StartAsync(trusted: []);
        Assert.Equal(Opaque, (await world.RefusedAsync(CaWorld.Request())).Detail);
    }

    [Fact]
    [Scenario("T-22")]
    public async Task A_caller_that_asks_without_end_is_slowed_down_and_others_are_not()
    {
        await using var world = await CaWorld.StartAsync();
        world.Api.Review = token => token == "other.e30.s" ? Reviews.Account("default", "client", "client-1", "uid-of-client-1") : Reviews.Ztunnel();
        var request = CaWorld.Request("not an identity");   // costs no signature
        for (var asked = 0; asked < 500; asked++) Assert.Equal(StatusCode.Unauthenticated, (await world.RefusedAsync(request)).Code);
        Assert.Equal(StatusCode.ResourceExhausted, (await world.RefusedAsync(request)).Code);
        await world.AskAsync(CaWorld.Request(impersonated: null), "other.e30.s");
        world.Clock.Advance(TimeSpan.FromSeconds(1));
        await world.AskAsync(CaWorld.Request());
    }

    private static string UriOf(X509Certificate2 certificate) => System.Text.Encoding.ASCII.GetString(certificate.Extensions["2.5.29.17"]!.RawData);

    private static async Task Changed(CaWorld world, Action change)
    {
        var changes = world.Pods.Subscribe();
        while (changes.TryRead(out _))
        {
        }
        change();
        await changes.ReadAsync(Patience.Token);
    }
}
