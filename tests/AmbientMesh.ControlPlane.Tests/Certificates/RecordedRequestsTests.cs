using System.Net;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.ControlPlane.Certificates;
using AmbientMesh.Identity;
using AmbientMesh.Protocol.Ca;
using AmbientMesh.Rpc;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Tests.Certificates;

/// <summary>The requests a real ztunnel sent, over TLS and gRPC to our CA, whose answers must satisfy it as those of the recorded CA did.</summary>
public sealed class RecordedRequestsTests
{
    [Theory]
    [Scenario("L4-139")]
    [InlineData("client")]
    [InlineData("server")]
    [InlineData("late")]
    public async Task Our_CA_satisfies_the_recorded_ztunnel(string name)
    {
        var request = IstioCertificateRequest.Parser.ParseFrom(Samples.Hex($"samples/ztunnel/ca/wildcard-request-{name}.hex"));
        var recorded = IstioCertificateResponse.Parser.ParseFrom(Samples.Hex($"samples/ztunnel/ca/wildcard-response-{name}.hex"));
        using var folder = new PluggedInFolder(new FakeTimeProvider(new DateTimeOffset(2026, 11, 21, 0, 0, 0, TimeSpan.Zero)));
        await using var server = await CaServer.StartAsync(folder.Path);
        var answer = await server.AskAsync(request);

        Assert.Equal(recorded.CertChain.Count, answer.CertChain.Count);   // leaf, intermediate, root bundle
        Assert.Equal(recorded.CertChain.Select(EndOf), answer.CertChain.Select(EndOf));
        using var theirs = PemBlocks.Certificates(recorded.CertChain[0])[0];
        using var ours = PemBlocks.Certificates(answer.CertChain[0])[0];
        Assert.Equal(theirs.PublicKey.EncodedKeyValue.RawData, ours.PublicKey.EncodedKeyValue.RawData);
        Assert.Equal(theirs.Subject, ours.Subject);
        Assert.Equal(ExtensionsOf(theirs), ExtensionsOf(ours));
        Assert.Equal(theirs.NotAfter - theirs.NotBefore, ours.NotAfter - ours.NotBefore);   // 24 h and 2 min
        Assert.Equal(theirs.Extensions["2.5.29.17"]!.RawData, ours.Extensions["2.5.29.17"]!.RawData);
        var issuer = server.World.Authority.Current.Certificate.Extensions.OfType<X509SubjectKeyIdentifierExtension>().Single();
        Assert.Equal(issuer.SubjectKeyIdentifierBytes.ToArray(), ours.Extensions.OfType<X509AuthorityKeyIdentifierExtension>().Single().KeyIdentifier!.Value.ToArray());
        Accepts(server, answer, ours);
    }

    [Fact]
    [Scenario("L4-140")]
    public async Task The_recorded_refusal_is_ours_word_for_word()
    {
        Assert.Contains("request impersonation authentication failure", Samples.Text("samples/ztunnel/ca/unauthenticated-retry.txt"));
        var request = IstioCertificateRequest.Parser.ParseFrom(Samples.Hex("samples/ztunnel/ca/wildcard-request-late.hex"));
        await using var server = await CaServer.StartAsync();
        server.World.Api.Review = _ => Reviews.Ztunnel(uid: "another");
        var refusal = await Assert.ThrowsAsync<RpcException>(() => server.AskAsync(request));
        Assert.Equal((StatusCode.Unauthenticated, "request impersonation authentication failure"), (refusal.Code, refusal.Detail));
    }

    [Fact]
    [Scenario("L4-141")]
    public async Task A_lifetime_beyond_the_maximum_is_an_invalid_argument_and_none_is_a_day()
    {
        await using var server = await CaServer.StartAsync();
        foreach (var seconds in (long[])[(90L * 24 * 3600) + 1, long.MaxValue])
        {
            var refusal = await Assert.ThrowsAsync<RpcException>(() => server.AskAsync(CaWorld.Request(seconds: seconds)));
            Assert.Equal(StatusCode.InvalidArgument, refusal.Code);
            Assert.StartsWith("CSR signing error (TTL_ERROR", refusal.Detail);
        }
        foreach (var seconds in (long[])[0, -1, long.MinValue])
        {
            using var leaf = PemBlocks.Certificates((await server.AskAsync(CaWorld.Request(seconds: seconds))).CertChain[0])[0];
            Assert.Equal(new TimeSpan(1, 0, 2, 0), leaf.NotAfter - leaf.NotBefore);
        }
        Assert.Contains("citadel_server_csr_sign_err_count{error=\"TTL_ERROR\"} 2", server.World.Exposed());
        Assert.Contains("citadel_server_success_cert_issuance_count 3", server.World.Exposed());
        Assert.Contains("citadel_server_csr_count 5", server.World.Exposed());
    }

    [Theory]
    [InlineData("")]
    [InlineData("not a CSR")]
    [InlineData("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n")]
    public async Task What_is_no_CSR_is_an_invalid_argument(string csr)
    {
        await using var server = await CaServer.StartAsync();
        var refusal = await Assert.ThrowsAsync<RpcException>(() => server.AskAsync(CaWorld.Request(csr: csr)));
        Assert.Equal(StatusCode.InvalidArgument, refusal.Code);
        Assert.StartsWith("CSR signing error (CSR_ERROR", refusal.Detail);
        Assert.Contains("citadel_server_csr_parsing_err_count 1", server.World.Exposed());
    }

    [Fact]
    public async Task An_expired_CA_is_an_internal_error_that_tells_the_caller_nothing()
    {
        await using var server = await CaServer.StartAsync();
        server.World.Clock.Advance(TimeSpan.FromDays(3651));
        var refusal = await Assert.ThrowsAsync<RpcException>(() => server.World.AskAsync(CaWorld.Request()));
        Assert.Equal((StatusCode.Internal, "CSR signing error (CA_NOT_READY)"), (refusal.Code, refusal.Detail));
        Assert.Contains(server.World.Log.Lines, l => l.Contains("valid from"));
    }

    private static string EndOf(string pem) => pem[^2] == '\n' ? "empty line" : "one newline";

    private static IEnumerable<(string?, bool)> ExtensionsOf(X509Certificate2 certificate) =>
        certificate.Extensions.Select(e => (e.Oid!.Value, e.Critical)).OrderBy(e => e.Value, StringComparer.Ordinal);

    // What ztunnel does with the answer: the chain up to the last element is its own, the last is what it trusts.
    private static void Accepts(CaServer server, IstioCertificateResponse answer, X509Certificate2 leaf)
    {
        var verifier = new SvidVerifier(TrustBundle.Parse(answer.CertChain[^1]), new SvidRules(), server.World.Clock);
        var sent = new X509Certificate2Collection(answer.CertChain.Skip(1).SkipLast(1).SelectMany(PemBlocks.Certificates).ToArray());
        Assert.IsType<SvidVerdict.Accepted>(verifier.Verify(leaf, sent, new PeerExpectation.TrustDomainMember("cluster.local")));
    }

    /// <summary>The CA behind Kestrel with the control plane's own certificate.</summary>
    private sealed class CaServer : IAsyncDisposable
    {
        private WebApplication _app = null!;
        private RpcChannel _channel = null!;

        public CaWorld World { get; private init; } = null!;

        public static async Task<CaServer> StartAsync(string? pluggedInFolder = null)
        {
            var server = new CaServer { World = await CaWorld.StartAsync(pluggedInFolder: pluggedInFolder) };
            var serving = new ServingCertificate(server.World.Authority, ServingCertificate.NamesOf("istio-system", "default", []));
            var builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            builder.WebHost.UseKestrelHttpsConfiguration();
            builder.WebHost.ConfigureKestrel(kestrel =>
            {
                kestrel.UseRpcLimits();
                kestrel.Listen(IPAddress.Loopback, 0, listen => listen.UseRpcTls(serving.Current));
            });
            server._app = builder.Build();
            server.World.Requests.Map(server._app);
            await server._app.StartAsync(Patience.Token);
            server._channel = new RpcChannel(new RpcChannelOptions
            {
                Address = new Uri(server._app.Urls.First()),
                RootCertificates = () => server.World.Authority.Current.Roots.Pem,
                ServerName = "istiod.istio-system.svc",
                CallMetadata = _ => ValueTask.FromResult<RpcMetadata>(Metadata()),
            });
            return server;
        }

        public Task<IstioCertificateResponse> AskAsync(IstioCertificateRequest request) => _channel.UnaryAsync(MeshMethods.CreateCertificate, request, null, null, Patience.Token);

        private static RpcMetadata Metadata()
        {
            RpcMetadata metadata = [];
            metadata.Add("authorization", $"Bearer {CaWorld.Token}");
            metadata.Add("clusterid", "Kubernetes");
            return metadata;
        }

        public async ValueTask DisposeAsync()
        {
            _channel.Dispose();
            await _app.StopAsync(Patience.Token);
            await _app.DisposeAsync();
            await World.DisposeAsync();
        }
    }
}
