using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Https;

namespace AmbientMesh.Kubernetes.Tests;

public sealed class ClientTests
{
    [Fact]
    public async Task A_typed_object_is_written_with_its_kind_and_without_what_it_does_not_say()
    {
        await using var api = await LoopbackApi.StartAsync((request, context) => context.JsonAsync(201, request.Body));
        using var client = api.Client();
        await client.Of<ConfigMap>().CreateAsync(new ConfigMap { Metadata = new ObjectMeta { Namespace = "demo", Name = "a" }, Data = new Dictionary<string, string> { ["k"] = "v" } }, null, Patience.Token);
        var seen = api.All.Single();
        Assert.Equal(("POST", "/api/v1/namespaces/demo/configmaps", "?fieldManager=tests"), (seen.Method, seen.Path, seen.Query));
        Assert.Equal("""{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"demo"},"data":{"k":"v"}}""", seen.Body);
        Assert.StartsWith("tests/", seen.Headers["User-Agent"]);
    }

    [Fact]
    public async Task Each_form_of_patch_has_its_content_type_and_apply_its_owner()
    {
        await using var api = await LoopbackApi.StartAsync((_, context) => context.JsonAsync(200, """{"metadata":{"name":"a"}}"""));
        using var client = api.Client();
        var pods = client.Of<Pod>();
        await pods.PatchAsync("demo", "a", Patch.Merge(new JsonObject { ["x"] = null }), null, Patience.Token);
        await pods.PatchAsync("demo", "a", Patch.Json([new JsonObject { ["op"] = "remove", ["path"] = "/x" }]), null, Patience.Token);
        await pods.PatchAsync("demo", "a", Patch.Strategic(new JsonObject()), null, Patience.Token, subresource: "status");
        var wanted = JsonNode.Parse("""{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"demo","name":"a"}}""")!.AsObject();
        await client.Of(Pod.Type).ApplyAsync(wanted, new WriteOptions { FieldManager = "mesh controller", Force = true, DryRun = true, Strict = true }, Patience.Token);
        Assert.Equal(
            [
                "/api/v1/namespaces/demo/pods/a?fieldManager=tests application/merge-patch+json",
                "/api/v1/namespaces/demo/pods/a?fieldManager=tests application/json-patch+json",
                "/api/v1/namespaces/demo/pods/a/status?fieldManager=tests application/strategic-merge-patch+json",
                "/api/v1/namespaces/demo/pods/a?fieldManager=mesh%20controller&force=true&dryRun=All&fieldValidation=Strict application/apply-patch+yaml",
            ],
            api.All.Select(r => $"{r.Path}{r.Query} {r.Headers["Content-Type"]}"));
    }

    [Fact]
    public async Task What_is_absent_is_null_but_a_kind_that_is_not_served_is_an_error()
    {
        await using var api = await LoopbackApi.StartAsync((request, context) =>
            context.StatusAsync(404, "NotFound", "gone", request.Path.Contains("widgets") ? "{}" : """{"name":"a","kind":"pods"}"""));
        using var client = api.Client();
        Assert.Null(await client.Of<Pod>().GetAsync("demo", "a", Patience.Token));
        Assert.False(await client.Of<Pod>().DeleteAsync("demo", "a", null, Patience.Token));
        var widgets = client.Of(new ResourceType("example.test", "v1", "widgets", "Widget", true));
        Assert.True((await Assert.ThrowsAsync<KubernetesRefusedException>(() => widgets.GetAsync("demo", "a", Patience.Token))).IsNotFound);
    }

    [Fact]
    public async Task A_deletion_can_be_bound_to_one_very_object()
    {
        await using var api = await LoopbackApi.StartAsync((_, context) => context.JsonAsync(200, "{}"));
        using var client = api.Client();
        await client.Of<Pod>().DeleteAsync("demo", "a", new DeleteOptions { Uid = "u", GracePeriodSeconds = 0, PropagationPolicy = "Foreground" }, Patience.Token);
        Assert.Equal(
            """{"apiVersion":"v1","kind":"DeleteOptions","gracePeriodSeconds":0,"propagationPolicy":"Foreground","preconditions":{"uid":"u"}}""", api.All.Single().Body);
    }

    [Theory]
    [InlineData("..")]
    [InlineData("a/b")]
    [InlineData("")]
    [InlineData("a%2fb")]
    public async Task A_name_that_could_leave_its_place_in_the_path_is_never_sent(string name)
    {
        await using var api = await LoopbackApi.StartAsync((_, context) => context.JsonAsync(200, "{}"));
        using var client = api.Client();
        await Assert.ThrowsAsync<ArgumentException>(() => client.Of<Pod>().GetAsync("demo", name, Patience.Token));
        if (name.Length > 0) await Assert.ThrowsAsync<ArgumentException>(() => client.Of<Pod>().GetAsync(name, "a", Patience.Token));
        Assert.Empty(api.All);
    }

    [Fact]
    public async Task A_token_is_requested_for_an_account_and_never_printed()
    {
        await using var api = await LoopbackApi.StartAsync((_, context) => context.JsonAsync(201, """{"status":{"token":"s3cret","expirationTimestamp":"2026-11-21T02:00:00Z"}}"""));
        using var client = api.Client();
        var given = await client.RequestTokenAsync("demo", "web", new TokenRequestSpec { Audiences = ["istio-ca"], ExpirationSeconds = 600 }, Patience.Token);
        Assert.Equal("s3cret", given.Token);
        Assert.DoesNotContain("s3cret", given.ToString());
        var seen = api.All.Single();
        Assert.Equal("/api/v1/namespaces/demo/serviceaccounts/web/token", seen.Path);
        Assert.Equal("""{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"audiences":["istio-ca"],"expirationSeconds":600}}""",
            JsonNode.Parse(seen.Body)!.AsObject().Without("metadata").Without("status").ToJsonString());
    }

    [Fact]
    public async Task A_refused_token_is_read_again_from_its_file_and_sent_once_more()
    {
        using var folder = new TemporaryFolder();
        var path = folder.Write("token", "old");
        await using var api = await LoopbackApi.StartAsync((request, context) =>
            request.Headers["Authorization"] == "Bearer new" ? context.JsonAsync(200, "{}") : context.StatusAsync(401, "Unauthorized", "Unauthorized"));
        var clock = new FakeTimeProvider();
        var token = BearerToken.FromFile(path, clock);
        token.Current();
        folder.Write("token", "new");
        using var client = api.Client(clock, token);
        await client.GetJsonAsync("/version", Patience.Token);
        Assert.Equal(["Bearer old", "Bearer new"], api.All.Select(r => r.Headers["Authorization"]));

        folder.Write("token", "worse");
        clock.Advance(TimeSpan.FromMinutes(2));
        Assert.True((await Assert.ThrowsAsync<KubernetesRefusedException>(() => client.GetJsonAsync("/version", Patience.Token))).IsUnauthorized);
    }

    [Fact]
    public async Task A_server_that_is_not_there_is_named_and_worth_trying_again()
    {
        using var unused = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);   // has the port, so that nobody else gets it, and does not listen
        unused.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        var port = ((IPEndPoint)unused.LocalEndPoint!).Port;
        using var client = new KubernetesClient(new KubernetesConnection { Server = new Uri($"http://127.0.0.1:{port}") });
        var error = await Assert.ThrowsAsync<KubernetesUnavailableException>(() => client.Of<Pod>().ListAsync(Selection.All, Patience.Token));
        Assert.Contains($"127.0.0.1:{port}", error.Message);
        Assert.Null(error.Code);
    }

    [Fact]
    public async Task A_server_that_does_not_answer_is_given_up_after_the_time_limit()
    {
        var clock = new FakeTimeProvider();
        await using var api = await LoopbackApi.StartAsync((_, context) => Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted));
        using var client = api.Client(clock);
        var asking = client.GetJsonAsync("/version", Patience.Token);
        await api.Seen.ReadAsync(Patience.Token);
        clock.Advance(TimeSpan.FromSeconds(30));
        Assert.Contains("within 30 s", (await Assert.ThrowsAsync<KubernetesUnavailableException>(() => asking)).Message);
    }

    [Fact]
    public async Task A_cancelled_call_ends_as_cancelled()
    {
        await using var api = await LoopbackApi.StartAsync((_, context) => Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted));
        using var client = api.Client();
        using var caller = new CancellationTokenSource();
        var asking = client.GetJsonAsync("/version", caller.Token);
        await api.Seen.ReadAsync(Patience.Token);
        await caller.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => asking);
    }

    [Fact]
    public async Task Over_TLS_only_the_clusters_authority_and_name_are_accepted_and_the_certificate_of_the_user_is_shown()
    {
        using var authority = new TestAuthority();
        using var foreign = new TestAuthority("CN=foreign");
        var (serverCertificate, serverKey) = authority.Issue("CN=apiserver", dns: "kubernetes");
        using var served = X509Certificate2.CreateFromPem(serverCertificate, serverKey);
        var shown = new List<(string?, string)>();
        await using var api = await LoopbackApi.StartAsync(
            (_, context) =>
            {
                shown.Add((context.Connection.ClientCertificate?.Subject, context.Request.Protocol));
                return context.JsonAsync(200, "{}");
            },
            builder =>
            {
                builder.WebHost.UseKestrelHttpsConfiguration();
                builder.WebHost.ConfigureKestrel(k => k.Listen(IPAddress.Loopback, 0, l => l.UseHttps(https =>
                {
                    https.ServerCertificate = X509CertificateLoader.LoadPkcs12(served.Export(X509ContentType.Pkcs12), null);
                    https.ClientCertificateMode = ClientCertificateMode.AllowCertificate;
                    https.AllowAnyClientCertificate();
                })));
            });
        var (userCertificate, userKey) = authority.Issue("CN=admin");
        using var user = X509Certificate2.CreateFromPem(userCertificate, userKey);
        var right = new KubernetesConnection { Server = api.Address, Authorities = [authority.Certificate], TlsServerName = "kubernetes", ClientCertificate = user };
        using (var client = new KubernetesClient(right)) await client.GetJsonAsync("/version", Patience.Token);
        Assert.Equal([("CN=admin", "HTTP/2")], shown);

        foreach (var wrong in (KubernetesConnection[])[right with { Authorities = [foreign.Certificate] }, right with { TlsServerName = null }, right with { Authorities = null }])
        {
            using var client = new KubernetesClient(wrong);
            await Assert.ThrowsAsync<KubernetesUnavailableException>(() => client.GetJsonAsync("/version", Patience.Token));
        }
        Assert.Single(shown);
    }
}

internal static class JsonForTests
{
    public static JsonObject Without(this JsonObject o, string key)
    {
        o.Remove(key);
        return o;
    }
}
