using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using AmbientMesh.Model;

namespace AmbientMesh.Identity.Tests;

public sealed class SvidTests
{
    private static readonly SpiffeId Client = new("cluster.local", "default", "client");
    private static readonly SpiffeId Server = new("cluster.local", "default", "server");
    private readonly CertificateAuthority _ca = TestCa.Intermediate(TimeProvider.System);

    [Fact]
    public void Renewal_is_due_at_half_of_the_lifetime()
    {
        var clock = new FakeTimeProvider();
        var svid = CertificateAuthority.CreateSelfSigned("cluster.local", clock).IssueSvid(Client, TimeSpan.FromHours(24));
        Assert.Equal(clock.GetUtcNow() + TimeSpan.FromHours(12) - TimeSpan.FromMinutes(1), svid.RenewAt);   // 11 h 59 min after issue
    }

    [Fact]
    public void Answers_that_are_not_for_us_are_refused()
    {
        using var key = CsrBuilder.NewKey();
        using var otherKey = CsrBuilder.NewKey();
        var chain = ((IssuanceOutcome.Issued)_ca.Issue(CsrBuilder.Build(Client, key), Client, default)).CertificateChain;
        string Problem(IReadOnlyList<string> answer, System.Security.Cryptography.ECDsa k, SpiffeId id) => Assert.Throws<FormatException>(() => Svid.FromCertificateChain(answer, k, id)).Message;
        Assert.Contains("did not find expected SAN", Problem(chain, key, Server));
        Assert.Contains("not for the key", Problem(chain, otherKey, Client));
        Assert.Contains("at least a leaf and a root", Problem([chain[0]], key, Client));
        Assert.Contains("holds no certificate", Problem(["", chain[^1]], key, Client));
        Assert.Contains("holds no certificate", Problem([chain[0], ""], key, Client));
        Assert.Contains("not an SVID", Problem([chain[1], chain[^1]], key, Client));
        Assert.Contains("cannot be read", Problem(["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", chain[^1]], key, Client));
        Assert.Single(Svid.FromCertificateChain(chain, key, Client).Intermediates);
    }

    [Fact]
    public async Task Both_ends_of_a_handshake_learn_whom_they_face()
    {
        var seen = await HandshakeAsync(new PeerExpectation.OneOf([Server]), new PeerExpectation.TrustDomainMember("cluster.local"));
        Assert.Equal(Server, Assert.IsType<SvidVerdict.Accepted>(seen.ByClient).Identity);
        Assert.Equal(Client, Assert.IsType<SvidVerdict.Accepted>(seen.ByServer).Identity);
    }

    [Fact]
    public async Task A_server_that_is_someone_else_ends_the_handshake()
    {
        var seen = await HandshakeAsync(new PeerExpectation.OneOf([Client]), new PeerExpectation.TrustDomainMember("cluster.local"));
        Assert.IsType<SvidVerdict.Rejected>(seen.ByClient);
        Assert.IsType<AuthenticationException>(seen.Failure);
    }

    [Fact]
    public async Task A_client_of_another_trust_domain_ends_the_handshake()
    {
        var seen = await HandshakeAsync(new PeerExpectation.OneOf([Server]), new PeerExpectation.TrustDomainMember("other"));
        Assert.Contains("not of trust domain other", Assert.IsType<SvidVerdict.Rejected>(seen.ByServer).Reason);
        Assert.NotNull(seen.Failure);
    }

    [Fact]
    public async Task The_control_planes_certificate_carries_its_names_and_chains_to_the_roots()
    {
        var names = new[] { "istiod.istio-system.svc", "localhost" };
        var context = _ca.IssueServerCertificate(names, [System.Net.IPAddress.Loopback], TimeSpan.FromDays(3650));
        Assert.All(names, name => Assert.True(context.TargetCertificate.MatchesHostname(name, allowCommonName: false)));
        Assert.True(context.TargetCertificate.MatchesHostname("127.0.0.1"));
        Assert.False(context.TargetCertificate.MatchesHostname("istiod.other.svc"));
        Assert.Equal(_ca.Certificate.NotAfter, context.TargetCertificate.NotAfter);   // ten years are cut at the signer's end
        await Task.CompletedTask;
    }

    private sealed record Seen(SvidVerdict? ByClient, SvidVerdict? ByServer, Exception? Failure);

    private async Task<Seen> HandshakeAsync(PeerExpectation ofServer, PeerExpectation ofClient)
    {
        var (near, far) = await PairAsync();
        await using var client = new SslStream(near);
        await using var server = new SslStream(far);
        SvidVerdict? byClient = null, byServer = null;
        var verifier = new SvidVerifier(_ca.Roots, SvidRules.Strict, TimeProvider.System);
        var serverOptions = new SslServerAuthenticationOptions { ServerCertificateContext = _ca.IssueSvid(Server).CertificateContext, EnabledSslProtocols = SslProtocols.Tls13 };
        verifier.Apply(serverOptions, ofClient, v => byServer = v);
        var clientOptions = new SslClientAuthenticationOptions { TargetHost = "", ClientCertificateContext = _ca.IssueSvid(Client).CertificateContext, EnabledSslProtocols = SslProtocols.Tls13 };
        verifier.Apply(clientOptions, ofServer, v => byClient = v);
        var accepting = server.AuthenticateAsServerAsync(serverOptions, Patience.Token);
        Exception? failure = null;
        try
        {
            await client.AuthenticateAsClientAsync(clientOptions, Patience.Token);
            await accepting;
        }
        catch (Exception problem) when (problem is AuthenticationException or IOException)
        {
            failure = problem;
            near.Close();
            await accepting.ContinueWith(_ => { }, TaskScheduler.Default);
        }
        return new Seen(byClient, byServer, failure);
    }

    private static async Task<(NetworkStream Near, NetworkStream Far)> PairAsync()
    {
        using var listener = new TcpListener(System.Net.IPAddress.Loopback, 0);
        listener.Start();
        var dialled = new TcpClient();
        await dialled.ConnectAsync((System.Net.IPEndPoint)listener.LocalEndpoint, Patience.Token);
        return (dialled.GetStream(), (await listener.AcceptTcpClientAsync(Patience.Token)).GetStream());
    }
}
