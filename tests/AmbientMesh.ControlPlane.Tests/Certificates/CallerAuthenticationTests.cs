using System.Text;
using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Certificates;
using AmbientMesh.Kubernetes;
using AmbientMesh.Rpc;

namespace AmbientMesh.ControlPlane.Tests.Certificates;

public sealed class CallerAuthenticationTests
{
    private const string Opaque = "request authenticate failure";

    public static TheoryData<string, string> RefusedReviews => new()
    {
        { """{"error":"[invalid bearer token, token is expired]"}""", "does not accept" },
        { """{"authenticated":true,"audiences":["https://kubernetes.default.svc"],"user":{"username":"system:serviceaccount:a:b","groups":["system:serviceaccounts"]}}""", "not meant for" },
        { """{"authenticated":true,"user":{"username":"system:serviceaccount:a:b","groups":["system:serviceaccounts"]}}""", "not meant for" },
        { """{"authenticated":true,"audiences":["istio-ca"],"user":{"username":"system:serviceaccount:a:b","groups":["system:authenticated"]}}""", "not a ServiceAccount" },
        { """{"authenticated":true,"audiences":["istio-ca"],"user":{"username":"admin","groups":["system:serviceaccounts"]}}""", "not that of a ServiceAccount" },
        { """{"authenticated":true,"audiences":["istio-ca"],"user":{"username":"system:serviceaccount:a:b:c","groups":["system:serviceaccounts"]}}""", "not that of a ServiceAccount" },
        { """{"authenticated":true,"audiences":["istio-ca"],"user":{"username":"system:serviceaccount:a/x:b","groups":["system:serviceaccounts"]}}""", "is no identity" },
    };

    [Theory]
    [Scenario("T-23", "L4-140")]
    [MemberData(nameof(RefusedReviews))]
    public async Task A_token_the_API_server_does_not_vouch_for_is_refused_without_saying_why(string review, string logged)
    {
        await using var world = await CaWorld.StartAsync();
        world.Api.Review = _ => JsonNode.Parse(review)!.AsObject();
        var refusal = await world.RefusedAsync(CaWorld.Request());
        Assert.Equal((StatusCode.Unauthenticated, Opaque), (refusal.Code, refusal.Detail));
        Assert.Contains(world.Log.Lines, l => l.Contains(logged));
    }

    [Fact]
    [Scenario("T-23")]
    public async Task The_API_server_is_asked_for_our_audience()
    {
        await using var world = await CaWorld.StartAsync();
        await world.AskAsync(CaWorld.Request());
        var review = world.Api.Requests.Single(r => r.Path.EndsWith("/tokenreviews", StringComparison.Ordinal));
        Assert.Equal("""["istio-ca"]""", JsonNode.Parse(review.Body)!["spec"]!["audiences"]!.ToJsonString());
    }

    [Theory]
    [Scenario("T-23")]
    [InlineData("")]
    [InlineData("no-token-at-all")]
    [InlineData("a.b")]
    [InlineData("a.b.c.d")]
    public async Task What_is_no_token_is_refused_without_asking(string token)
    {
        await using var world = await CaWorld.StartAsync();
        Assert.Equal(Opaque, (await world.RefusedAsync(CaWorld.Request(), token)).Detail);
        Assert.Empty(world.Reviewed);
    }

    [Fact]
    public async Task A_caller_of_another_cluster_or_without_a_token_is_refused()
    {
        await using var world = await CaWorld.StartAsync();
        Assert.Equal(Opaque, (await world.RefusedAsync(CaWorld.Request(), cluster: "remote")).Detail);
        Assert.IsType<Authentication.Refused>(await world.Callers.AuthenticateAsync([], null, Patience.Token));
        RpcMetadata basic = [];
        basic.Add("authorization", "Basic eA==");
        Assert.IsType<Authentication.Refused>(await world.Callers.AuthenticateAsync(basic, null, Patience.Token));
        Assert.Empty(world.Reviewed);
        await world.AskAsync(CaWorld.Request(), cluster: null);
    }

    [Fact]
    public async Task A_token_in_many_calls_at_once_is_reviewed_once_and_again_after_ten_seconds()
    {
        await using var world = await CaWorld.StartAsync();
        await Patience.Within(Task.WhenAll(Enumerable.Range(0, 50).Select(_ => world.AskAsync(CaWorld.Request()))));
        Assert.Single(world.Reviewed);
        world.Clock.Advance(TimeSpan.FromSeconds(11));
        await world.AskAsync(CaWorld.Request());
        Assert.Equal(2, world.Reviewed.Count);
    }

    [Fact]
    public async Task A_flood_of_made_up_tokens_does_not_become_one_on_the_API_server()
    {
        await using var world = await CaWorld.StartAsync();
        var answered = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        world.Api.Hold = r => IsReview(r) ? answered.Task : Task.CompletedTask;
        world.Api.Review = _ => new JsonObject { ["error"] = "made up" };
        var asking = Task.WhenAll(Enumerable.Range(0, 300).Select(i => world.RefusedAsync(CaWorld.Request(), $"a.b.{i}")));
        var reviews = 0;
        while (reviews < 64)
            if (IsReview(await world.Api.Seen.ReadAsync(Patience.Token))) reviews++;
        Assert.False(world.Api.Seen.TryRead(out _));
        answered.SetResult();
        Assert.All(await Patience.Within(asking), r => Assert.Equal(Opaque, r.Detail));

        static bool IsReview(AmbientMesh.Kubernetes.Tests.SeenRequest request) => request.Path.EndsWith("/tokenreviews", StringComparison.Ordinal);
    }

    [Fact]
    [Scenario("T-23")]
    public async Task A_token_is_not_believed_beyond_its_own_end()
    {
        await using var world = await CaWorld.StartAsync();
        var claims = $$"""{"exp":{{world.Clock.GetUtcNow().ToUnixTimeSeconds() + 3}}}""";
        var token = $"h.{Convert.ToBase64String(Encoding.UTF8.GetBytes(claims)).TrimEnd('=')}.s";
        await world.AskAsync(CaWorld.Request(), token);
        world.Clock.Advance(TimeSpan.FromSeconds(4));
        world.Api.Review = _ => new JsonObject { ["error"] = "expired" };
        Assert.Equal(Opaque, (await world.RefusedAsync(CaWorld.Request(), token)).Detail);
    }

    [Fact]
    public async Task When_the_API_server_cannot_be_asked_the_caller_is_refused_and_may_try_again_at_once()
    {
        await using var world = await CaWorld.StartAsync();
        world.Api.Fault = r => r.Path.EndsWith("/tokenreviews", StringComparison.Ordinal) ? 503 : 0;
        Assert.Equal(Opaque, (await world.RefusedAsync(CaWorld.Request())).Detail);
        world.Api.Fault = _ => 0;
        await world.AskAsync(CaWorld.Request());
    }

    [Fact]
    [Scenario("T-23")]
    public void The_recorded_reviews_of_pod_tokens_prove_the_pod_and_its_refusals_prove_nothing()
    {
        var text = Samples.Text("samples/kubernetes/auth/token-review-of-pod-tokens.txt");
        var proven = 0;
        foreach (var block in text.Split("\"status\": ").Skip(1))
        {
            var reader = new System.Text.Json.Utf8JsonReader(Encoding.UTF8.GetBytes(block));
            if (JsonNode.Parse(ref reader) is not JsonObject { } status || status["authenticated"] is null) continue;
            var review = System.Text.Json.JsonSerializer.Deserialize(status, KubernetesJson.Of<TokenReview>().Options.GetTypeInfo(typeof(TokenReviewStatus))) as TokenReviewStatus;
            var caller = Assert.IsType<Authentication.Proven>(TokenJudgement.Judge(review!, review!.Audiences, "cluster.local")).Caller;
            Assert.NotNull(caller.PodName);
            Assert.NotNull(caller.PodUid);
            Assert.IsType<Authentication.Refused>(TokenJudgement.Judge(review, ["some-other"], "cluster.local"));
            proven++;
        }
        Assert.True(proven > 0);
    }
}
