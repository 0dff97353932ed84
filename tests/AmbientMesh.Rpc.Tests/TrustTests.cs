using System.Net.Security;
using AmbientMesh.Protocol.Ca;

namespace AmbientMesh.Rpc.Tests;

/// <summary>TLS with roots of our own.</summary>
public sealed class TrustTests
{
    [Fact]
    public async Task A_server_of_the_given_root_is_trusted_and_its_certificate_replaced_while_it_runs()
    {
        var root = TestCertificates.NewAuthority();
        var issued = 0;
        await using var server = await StartAsync(() => { issued++; return root.Issue("istiod.istio-system.svc"); });
        for (var i = 1; i <= 2; i++)
        {
            using var channel = Channel(server, () => root.Pem, "istiod.istio-system.svc");
            await CallAsync(channel);
            Assert.Equal(i, issued);
        }
    }

    [Fact]
    public async Task An_unknown_root_a_wrong_name_and_an_expired_certificate_are_named()
    {
        var root = TestCertificates.NewAuthority();
        await using var server = await StartAsync(() => root.Issue("istiod.istio-system.svc"));
        await using var expired = await StartAsync(() => root.Issue("localhost", TimeProvider.System.GetUtcNow().AddHours(-1)));
        Assert.Contains("is not trusted", await ProblemAsync(server, () => TestCertificates.NewAuthority("other").Pem, "istiod.istio-system.svc"));
        Assert.Contains("does not carry this name but istiod.istio-system.svc", await ProblemAsync(server, () => root.Pem, "istiod.evil.svc"));
        Assert.Contains("is not trusted", await ProblemAsync(expired, () => root.Pem, "localhost"));
        Assert.Contains("root certificates are empty", await ProblemAsync(server, () => "", "istiod.istio-system.svc"));
        Assert.Contains("root certificates cannot be read", await ProblemAsync(server, () => "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "istiod.istio-system.svc"));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Of_two_roots_of_one_name_the_one_that_signed_is_found_and_the_name_alone_is_not_enough(bool signerFirst)
    {
        var (signer, namesake) = (TestCertificates.NewAuthority(), TestCertificates.NewAuthority());
        await using var server = await StartAsync(() => signer.Issue("localhost"));
        using var channel = Channel(server, () => signerFirst ? $"{signer.Pem}\n{namesake.Pem}" : $"{namesake.Pem}\n{signer.Pem}", "localhost");
        await CallAsync(channel);
        Assert.Contains("is not trusted", await ProblemAsync(server, () => $"{namesake.Pem}\n{TestCertificates.NewAuthority().Pem}", "localhost"));
    }

    [Fact]
    public async Task A_changed_root_counts_from_the_next_connection()
    {
        var (first, second) = (TestCertificates.NewAuthority("first"), TestCertificates.NewAuthority("second"));
        var trusted = first.Pem;
        await using var server = await StartAsync(() => second.Issue("localhost"));
        using var channel = Channel(server, () => trusted, "localhost");
        Assert.True((await Assert.ThrowsAsync<RpcException>(() => CallAsync(channel))).IsConnectionFailure);
        trusted = second.Pem;
        await CallAsync(channel);
    }

    [Fact]
    public async Task A_client_certificate_is_optional_and_judged_when_it_comes()
    {
        var root = TestCertificates.NewAuthority();
        var asked = new List<bool>();
        await using var server = await TestServer.StartAsync(app => TestServer.MapEcho(app), () => root.Issue("localhost"), (_, certificate, _, _) =>
        {
            asked.Add(certificate is not null);
            return certificate is null;
        });
        using var channel = Channel(server, () => root.Pem, "localhost");
        await CallAsync(channel);
        Assert.Equal([false], asked);
    }

    [Fact]
    public async Task A_root_file_that_is_missing_is_named_and_does_no_harm_once_it_is_there()
    {
        var root = TestCertificates.NewAuthority();
        string? pem = null;
        await using var server = await StartAsync(() => root.Issue("localhost"));
        using var channel = Channel(server, () => pem ?? throw new FileNotFoundException("Could not find file '/etc/root-cert.pem'"), "localhost");
        var failure = await Assert.ThrowsAsync<RpcException>(() => CallAsync(channel));
        Assert.Equal((StatusCode.Unavailable, true), (failure.Code, failure.IsConnectionFailure));
        Assert.Contains("/etc/root-cert.pem", failure.Detail);
        pem = root.Pem;
        await CallAsync(channel);
    }

    [Fact]
    public async Task A_handler_sees_the_certificate_its_caller_came_with()
    {
        var root = TestCertificates.NewAuthority();
        var client = root.Issue("client.example").TargetCertificate;
        var seen = new TaskCompletionSource<string?>();
        await using var server = await TestServer.StartAsync(app => app.MapRpcUnary(TestServer.Echo, (_, context) =>
        {
            seen.TrySetResult(context.PeerCertificate?.Thumbprint);
            return Task.FromResult(new IstioCertificateResponse());
        }), () => root.Issue("localhost"), (_, certificate, _, _) => certificate?.GetCertHashString() == client.Thumbprint);
        await using var raw = await RawHttp2.ConnectAsync(server.Port, async transport =>
        {
            var tls = new SslStream(transport);
            await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
            {
                TargetHost = "localhost",
                ApplicationProtocols = [SslApplicationProtocol.Http2],
                ClientCertificateContext = SslStreamCertificateContext.Create(client, null, offline: true),
                RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate is not null,
            }, Patience.Token);
            return tls;
        });
        await raw.HeadersAsync(1, false, (":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/test.Echo/Unary"), ("content-type", "application/grpc"), ("te", "trailers"));
        await raw.DataAsync(1, RawHttp2.Message([]), end: true);
        Assert.Equal(client.Thumbprint, await Patience.Within(seen.Task));
    }

    private static Task<TestServer> StartAsync(Func<SslStreamCertificateContext> certificate) => TestServer.StartAsync(app => TestServer.MapEcho(app), certificate);

    private static RpcChannel Channel(TestServer server, Func<string> roots, string name) => server.Channel(o => o with { RootCertificates = roots, ServerName = name });

    private static Task<IstioCertificateResponse> CallAsync(RpcChannel channel) => channel.UnaryAsync(TestServer.Echo, new IstioCertificateRequest { Csr = "x" }, cancellationToken: Patience.Token);

    private static async Task<string> ProblemAsync(TestServer server, Func<string> roots, string name)
    {
        using var channel = Channel(server, roots, name);
        var failure = await Assert.ThrowsAsync<RpcException>(() => CallAsync(channel));
        Assert.Equal((StatusCode.Unavailable, true), (failure.Code, failure.IsConnectionFailure));
        return failure.Detail;
    }
}
