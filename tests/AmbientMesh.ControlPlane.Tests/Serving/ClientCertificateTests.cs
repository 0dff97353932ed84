using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.ControlPlane.Certificates;
using AmbientMesh.ControlPlane.Tests.Certificates;
using AmbientMesh.Identity;
using AmbientMesh.Model;
using AmbientMesh.Protocol.Ca;
using AmbientMesh.Rpc;

namespace AmbientMesh.ControlPlane.Tests.Serving;

/// <summary>Callers that prove themselves by a certificate of the mesh: what it stands for, and what is refused, over TLS to the whole control plane.</summary>
public sealed class ClientCertificateTests : IDisposable
{
    private const string First = "wildcard/01-c2s-address-first.hex";
    private static readonly SpiffeId Ztunnel = new("cluster.local", "istio-system", "ztunnel");
    private static readonly SpiffeId Client = new("cluster.local", "default", "client");
    private readonly PluggedInFolder _folder = new(TimeProvider.System);

    [Fact]
    public async Task A_certificate_alone_opens_discovery_for_its_own_identity_only()
    {
        await using var world = await StartAsync();
        await (await world.DiscoverAsync(token: null, certificate: Issue(world, Ztunnel))).OpenWildcardAsync();
        var refusal = await RefusalAsync(world, null, Issue(world, Client));
        Assert.Equal((StatusCode.PermissionDenied, "authorization failed: no identities ([spiffe://cluster.local/ns/default/sa/client]) matched istio-system/"), (refusal.Code, refusal.Detail));
    }

    [Fact]
    [Scenario("T-22")]
    public async Task A_certificate_gets_a_certificate_for_its_own_identity_and_for_no_other()
    {
        await using var world = await StartAsync();
        using var channel = world.Channel(token: null, certificate: Issue(world, Client));
        var answer = await channel.UnaryAsync(MeshMethods.CreateCertificate, CaWorld.Request(impersonated: null), cancellationToken: Patience.Token);
        using var leaf = PemBlocks.Certificates(answer.CertChain[0])[0];
        Assert.Contains(Client.ToString(), System.Text.Encoding.ASCII.GetString(leaf.Extensions["2.5.29.17"]!.RawData));

        // A ztunnel's certificate names no pod, so nobody knows on which node it is: not even what runs beside it.
        using var node = world.Channel(token: null, certificate: Issue(world, Ztunnel));
        foreach (var other in (string[])[CaWorld.Client, "spiffe://cluster.local/ns/kube-system/sa/admin"])
        {
            var refusal = await Assert.ThrowsAsync<RpcException>(() => node.UnaryAsync(MeshMethods.CreateCertificate, CaWorld.Request(other), cancellationToken: Patience.Token));
            Assert.Equal((StatusCode.Unauthenticated, "request impersonation authentication failure"), (refusal.Code, refusal.Detail));
        }
    }

    [Fact]
    [Scenario("T-22")]
    public async Task A_ztunnel_with_token_and_certificate_is_held_to_its_node()
    {
        await using var world = await CaWorld.StartAsync();
        var proven = new Authentication.Proven(new Caller(Ztunnel, null, null));
        RpcMetadata metadata = new() { { "authorization", $"Bearer {CaWorld.Token}" } };
        Task<IstioCertificateResponse> AskAsync(string identity, Authentication certificate) => world.Requests.CreateAsync(CaWorld.Request(identity), metadata, "test", Patience.Token, certificate);
        Assert.NotEmpty((await AskAsync(CaWorld.Client, proven)).CertChain);
        Assert.Equal("request impersonation authentication failure", (await Assert.ThrowsAsync<RpcException>(() => AskAsync("spiffe://cluster.local/ns/default/sa/elsewhere", proven))).Detail);
        Assert.Equal("request authenticate failure", (await Assert.ThrowsAsync<RpcException>(() => AskAsync(CaWorld.Client, new Authentication.Proven(new Caller(Client, null, null))))).Detail);
        Assert.Contains(world.Log.Lines, l => l.Contains("the token is of spiffe://cluster.local/ns/istio-system/sa/ztunnel, the client certificate of spiffe://cluster.local/ns/default/sa/client"));
        Assert.Equal("request authenticate failure", (await Assert.ThrowsAsync<RpcException>(() => AskAsync(CaWorld.Client, new Authentication.Refused("revoked")))).Detail);
    }

    [Fact]
    [Scenario("T-23")]
    public async Task Of_token_and_certificate_both_must_be_good_and_of_one_identity()
    {
        await using var world = await StartAsync();
        var (good, other) = (world.Cluster.Token("istio-system", "ztunnel"), world.Cluster.Token("shop", "ztunnel"));
        await (await world.DiscoverAsync(good, certificate: Issue(world, Ztunnel))).OpenWildcardAsync();
        foreach (var (token, identity) in ((string, SpiffeId)[])[(good, Client), (other, Ztunnel), ("made.up.token", Ztunnel)])
        {
            var refusal = await RefusalAsync(world, token, Issue(world, identity));
            Assert.Equal((StatusCode.Unauthenticated, "authentication failure"), (refusal.Code, refusal.Detail));
        }
    }

    [Fact]
    [Scenario("T-17", "T-18", "T-20", "T-21")]
    public async Task A_certificate_that_is_not_good_ends_the_handshake_also_beside_a_good_token()
    {
        await using var world = await StartAsync();
        var token = world.Cluster.Token("istio-system", "ztunnel");
        using var issuer = X509Certificate2.CreateFromPem(_folder.Read("ca-cert.pem"), _folder.Read("ca-key.pem"));
        using var revoked = Leaf.For(Ztunnel).SignedBy(issuer);
        var list = new CertificateRevocationListBuilder();
        list.AddEntry(revoked);
        _folder.Write("ca-crl.pem", PemEncoding.WriteString("X509 CRL", list.Build(issuer, 1, Now.AddDays(1), HashAlgorithmName.SHA256, rsaSignaturePadding: null, Now.AddMinutes(-1))));
        world.Process.Authority.Reload();

        await (await world.DiscoverAsync(token: null, certificate: Leaf.For(Ztunnel).ShownBy(issuer))).OpenWildcardAsync();   // each other differs from this in one thing
        using var foreignFolder = new PluggedInFolder(TimeProvider.System);   // of the same names, with other keys
        using var foreign = X509Certificate2.CreateFromPem(foreignFolder.Read("ca-cert.pem"), foreignFolder.Read("ca-key.pem"));
        (string Case, SslStreamCertificateContext Certificate)[] bad =
        [
            ("another root", Leaf.For(Ztunnel).ShownBy(foreign)),
            ("expired", (Leaf.For(Ztunnel) with { From = TimeSpan.FromHours(-20), To = TimeSpan.FromMinutes(-1) }).ShownBy(issuer)),
            ("not yet valid", (Leaf.For(Ztunnel) with { From = TimeSpan.FromMinutes(10) }).ShownBy(issuer)),
            ("two URI names", Leaf.For(Ztunnel, Client).ShownBy(issuer)),
            ("no name", Leaf.For().ShownBy(issuer)),
            ("another trust domain", Leaf.For(Ztunnel with { TrustDomain = "other.local" }).ShownBy(issuer)),
            ("a CA", (Leaf.For(Ztunnel) with { IsAuthority = true }).ShownBy(issuer)),
            ("one that may sign", (Leaf.For(Ztunnel) with { Usage = X509KeyUsageFlags.DigitalSignature | X509KeyUsageFlags.KeyCertSign }).ShownBy(issuer)),
            ("the CA's own", SslStreamCertificateContext.Create(Exportable(issuer), null, offline: true)),
            ("revoked", SslStreamCertificateContext.Create(revoked, [X509CertificateLoader.LoadCertificate(issuer.RawData)], offline: true)),
        ];
        foreach (var (name, certificate) in bad)
        {
            var refusal = await RefusalAsync(world, token, certificate);
            Assert.True(refusal.Code == StatusCode.Unavailable, $"{name}: {refusal.Code} {refusal.Detail}");
        }
        await (await world.DiscoverAsync(token)).OpenWildcardAsync();
    }

    [Fact]
    [Scenario("T-21")]
    public async Task A_stream_ends_when_its_certificate_is_revoked_and_one_by_token_goes_on()
    {
        await using var world = await StartAsync();
        var (byCertificate, byToken) = (await world.DiscoverAsync(token: null, certificate: Issue(world, Ztunnel)), await world.DiscoverAsync());
        await byCertificate.OpenWildcardAsync();
        await byToken.OpenWildcardAsync();
        using var intermediate = X509CertificateLoader.LoadCertificate(world.Process.Authority.Current.Certificate.RawData);
        _folder.Revoke(TimeProvider.System, intermediate.SerialNumberBytes.ToArray());
        world.Process.Authority.Reload();
        await byCertificate.EndAsync();
        Assert.Equal(StatusCode.Unavailable, (await RefusalAsync(world, null, Issue(world, Ztunnel))).Code);
        world.Cluster.Put(Translation.KubernetesObjects.OfYaml(SampleMesh.Pod("late", "n2", "10.98.0.6", null)));
        Assert.Single((await byToken.TakeAsync()).Resources);
    }

    private static DateTimeOffset Now => TimeProvider.System.GetUtcNow();

    private Task<ControlPlaneWorld> StartAsync() => ControlPlaneWorld.StartAsync(SampleMesh.Yaml, ControlPlaneWorld.Settings with { PluggedCaFolder = _folder.Path });

    private static SslStreamCertificateContext Issue(ControlPlaneWorld world, SpiffeId id) => world.Process.Authority.Current.IssueSvid(id).CertificateContext;

    private static async Task<RpcException> RefusalAsync(ControlPlaneWorld world, string? token, SslStreamCertificateContext certificate) => await Assert.ThrowsAsync<RpcException>(async () =>
    {
        var stream = await world.DiscoverAsync(token, certificate: certificate);
        await stream.SendRecordedAsync(First);
        throw await stream.EndAsync();
    });

    private static X509Certificate2 Exportable(X509Certificate2 certificate) => X509CertificateLoader.LoadPkcs12(certificate.Export(X509ContentType.Pkcs12), null);

    /// <summary>A client certificate; each case changes one thing.</summary>
    private sealed record Leaf(IReadOnlyList<SpiffeId> Names)
    {
        public TimeSpan From { get; init; } = TimeSpan.FromMinutes(-2);
        public TimeSpan To { get; init; } = TimeSpan.FromHours(1);
        public bool IsAuthority { get; init; }
        public X509KeyUsageFlags Usage { get; init; } = X509KeyUsageFlags.DigitalSignature;

        public static Leaf For(params SpiffeId[] names) => new(names);

        public X509Certificate2 SignedBy(X509Certificate2 issuer)
        {
            using var key = CsrBuilder.NewKey();
            var request = new CertificateRequest("O=client", key, HashAlgorithmName.SHA256);
            request.CertificateExtensions.Add(new X509BasicConstraintsExtension(IsAuthority, false, 0, critical: true));
            request.CertificateExtensions.Add(new X509KeyUsageExtension(Usage, critical: true));
            var names = new SubjectAlternativeNameBuilder();
            foreach (var name in Names) names.AddUri(new Uri(name.ToString()));
            if (Names.Count > 0) request.CertificateExtensions.Add(names.Build(critical: true));
            using var certificate = request.Create(issuer, Now + From, Now + To, RandomNumberGenerator.GetBytes(8));
            return Exportable(certificate.CopyWithPrivateKey(key));
        }

        public SslStreamCertificateContext ShownBy(X509Certificate2 issuer) => SslStreamCertificateContext.Create(SignedBy(issuer), [X509CertificateLoader.LoadCertificate(issuer.RawData)], offline: true);
    }

    public void Dispose() => _folder.Dispose();
}
