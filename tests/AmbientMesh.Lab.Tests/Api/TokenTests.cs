using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Access;
using AmbientMesh.Lab.Api.Http;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Tests.Api;

/// <summary>ServiceAccount tokens: who they name, for whom they are, and when they end.</summary>
public sealed class TokenTests : IAsyncLifetime
{
    private static readonly GroupResource Pods = new("", "pods");
    private readonly FakeTimeProvider _clock = new();
    private ApiServer _server = null!;

    public ValueTask InitializeAsync()
    {
        _server = new ApiServer(new ApiServerOptions(), _clock);
        var store = _server.Store;
        store.Create(new("", "namespaces"), new JsonObject { ["metadata"] = new JsonObject { ["name"] = "auth" } });
        store.Create(new("", "serviceaccounts"), new JsonObject { ["metadata"] = new JsonObject { ["name"] = "alice", ["namespace"] = "auth" } });
        store.Create(new("", "nodes"), new JsonObject { ["metadata"] = new JsonObject { ["name"] = "node-1" } });
        store.Create(Pods, new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = "holder", ["namespace"] = "auth" },
            ["spec"] = new JsonObject { ["serviceAccountName"] = "alice", ["containers"] = new JsonArray(new JsonObject { ["name"] = "c", ["image"] = "x" }) },
        });
        store.BindPod("auth", "holder", "node-1");
        return ValueTask.CompletedTask;
    }

    private string PodToken(params string[] audiences) =>
        _server.Tokens.Issue("auth", "alice", audiences, TimeSpan.FromMinutes(10), ("Pod", _server.Store.Get(Pods, "auth", "holder"))).Token;

    [Fact]
    public void A_pods_token_names_its_account_pod_and_node()
    {
        var (user, audiences, error) = _server.Tokens.Check(PodToken(), [ServiceAccountTokens.Issuer]);
        Assert.Null(error);
        Assert.Equal("system:serviceaccount:auth:alice", user!.Name);
        Assert.Equal(["system:serviceaccounts", "system:serviceaccounts:auth", "system:authenticated"], user.Groups);
        Assert.Equal(["holder"], user.Extra["authentication.kubernetes.io/pod-name"]);
        Assert.Equal(["node-1"], user.Extra["authentication.kubernetes.io/node-name"]);
        Assert.Equal([ServiceAccountTokens.Issuer], audiences);
    }

    [Fact]
    public void A_token_for_another_audience_is_refused_and_says_which()
    {
        var (user, _, error) = _server.Tokens.Check(PodToken("mesh.example"), ["other.example"]);
        Assert.Null(user);
        Assert.Equal("[invalid bearer token, token audiences [\"mesh.example\"] is invalid for the target audiences [\"other.example\"]]", error);
    }

    [Fact]
    public void The_audiences_answered_are_those_in_common()
    {
        var (_, audiences, _) = _server.Tokens.Check(PodToken("mesh.example", "more"), ["mesh.example", "other"]);
        Assert.Equal(["mesh.example"], audiences);
    }

    [Fact]
    public void A_pods_token_ends_with_the_pod()
    {
        var token = PodToken();
        _server.Store.Delete(Pods, "auth", "holder", DeleteOptions.Now);
        Assert.Null(_server.Tokens.Check(token, [ServiceAccountTokens.Issuer]).User);
    }

    [Fact]
    public void A_pod_of_the_same_name_does_not_revive_a_token()
    {
        var token = PodToken();
        var pod = _server.Store.Delete(Pods, "auth", "holder", DeleteOptions.Now).Object.Copy();
        pod["metadata"] = new JsonObject { ["name"] = "holder", ["namespace"] = "auth" };
        _server.Store.Create(Pods, pod);
        Assert.Null(_server.Tokens.Check(token, [ServiceAccountTokens.Issuer]).User);
    }

    [Fact]
    public void A_token_ends_with_its_account()
    {
        var token = _server.Tokens.Issue("auth", "alice", [], TimeSpan.FromHours(1)).Token;
        _server.Store.Delete(new("", "serviceaccounts"), "auth", "alice");
        Assert.Null(_server.Tokens.Check(token, [ServiceAccountTokens.Issuer]).User);
    }

    [Fact]
    public void A_token_ends_at_its_time()
    {
        var token = PodToken();
        _clock.Advance(TimeSpan.FromMinutes(9));
        Assert.NotNull(_server.Tokens.Check(token, [ServiceAccountTokens.Issuer]).User);
        _clock.Advance(TimeSpan.FromMinutes(2));
        Assert.Null(_server.Tokens.Check(token, [ServiceAccountTokens.Issuer]).User);
    }

    [Theory]
    [InlineData("bad")]
    [InlineData("a.b.c")]
    [InlineData("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL290aGVyIn0.c2lnbmF0dXJl")]
    [InlineData("")]
    public void What_is_no_token_of_this_cluster_is_refused(string token) => Assert.Equal((null, "invalid bearer token"), (_server.Tokens.Check(token, [ServiceAccountTokens.Issuer]).User, _server.Tokens.Check(token, [ServiceAccountTokens.Issuer]).Error));

    [Fact]
    public void A_damaged_signature_or_claim_is_refused()
    {
        var token = PodToken();
        var parts = token.Split('.');
        Assert.Null(_server.Tokens.Check($"{parts[0]}.{parts[1][..^2]}AA.{parts[2]}", [ServiceAccountTokens.Issuer]).User);
        Assert.Null(_server.Tokens.Check($"{parts[0]}.{parts[1]}.{parts[2][..^4]}AAAA", [ServiceAccountTokens.Issuer]).User);
    }

    public ValueTask DisposeAsync() => _server.DisposeAsync();
}
