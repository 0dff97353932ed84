using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Model;
using AmbientMesh.Protocol.Ca;

namespace AmbientMesh.Identity.Tests;

public sealed class CertificateAuthorityTests
{
    private static readonly DateTimeOffset Start = new(2026, 11, 21, 1, 0, 0, TimeSpan.Zero);
    private static readonly SpiffeId Client = new("cluster.local", "default", "client");
    private readonly FakeTimeProvider _clock = new(Start);

    [Fact]
    [Scenario("L4-139")]
    public void The_recorded_request_gets_leaf_intermediates_and_root_bundle_in_that_order()
    {
        var ca = TestCa.Intermediate(_clock);
        var request = IstioCertificateRequest.Parser.ParseFrom(Samples.Hex("samples/ztunnel/ca/wildcard-request-client.hex"));
        var recorded = IstioCertificateResponse.Parser.ParseFrom(Samples.Hex("samples/ztunnel/ca/wildcard-response-client.hex"));
        var chain = Issued(ca.Issue(request.Csr, Client, TimeSpan.FromSeconds(request.ValidityDuration))).CertificateChain;
        Assert.Equal(recorded.CertChain.Count, chain.Count);
        Assert.Equal(recorded.CertChain.Select(Trail), chain.Select(Trail));
        Assert.Equal(Extensions(recorded.CertChain[0]), Extensions(chain[0]));
        Assert.Equal(ca.CertificatePem + "\n", chain[1]);
        Assert.Equal(ca.Roots.Pem, chain[2]);
    }

    [Fact]
    [Scenario("L4-139")]
    public void The_leaf_is_laid_out_as_the_reference_says()
    {
        var ca = CertificateAuthority.CreateSelfSigned("cluster.local", _clock);
        using var key = CsrBuilder.NewKey();
        var leaf = Issued(ca.Issue(CsrBuilder.Build(Client, key), Client, TimeSpan.FromHours(24))).Leaf;
        Assert.Equal("", leaf.Subject);
        Assert.Equal(Start.UtcDateTime.AddMinutes(-2), leaf.NotBefore.ToUniversalTime());
        Assert.Equal(Start.UtcDateTime.AddHours(24), leaf.NotAfter.ToUniversalTime());
        Assert.Equal(key.ExportSubjectPublicKeyInfo(), leaf.PublicKey.ExportSubjectPublicKeyInfo());
    }

    [Fact]
    [Scenario("L4-141")]
    public void A_lifetime_above_the_limit_is_refused_and_zero_means_a_day()
    {
        var ca = CertificateAuthority.CreateSelfSigned("cluster.local", _clock);
        using var key = CsrBuilder.NewKey();
        var csr = CsrBuilder.Build(Client, key);
        var refused = Assert.IsType<IssuanceOutcome.Refused>(ca.Issue(csr, Client, TimeSpan.FromDays(90) + TimeSpan.FromSeconds(1)));
        Assert.Equal(IssuanceError.Lifetime, refused.Error);
        Assert.Equal(Start.UtcDateTime.AddHours(24), Issued(ca.Issue(csr, Client, TimeSpan.Zero)).Leaf.NotAfter.ToUniversalTime());
        Assert.Equal(Start.UtcDateTime.AddHours(24), Issued(ca.Issue(csr, Client, TimeSpan.FromSeconds(-5))).Leaf.NotAfter.ToUniversalTime());
        Assert.Equal(Start.UtcDateTime.AddDays(90), Issued(ca.Issue(csr, Client, TimeSpan.FromDays(90))).Leaf.NotAfter.ToUniversalTime());
    }

    [Fact]
    [Scenario("L4-142")]
    public void The_names_in_the_csr_are_ignored()
    {
        var ca = CertificateAuthority.CreateSelfSigned("cluster.local", _clock);
        using var key = CsrBuilder.NewKey();
        var request = new CertificateRequest("CN=admin", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(SubjectAlternativeUris.Encode("spiffe://cluster.local/ns/kube-system/sa/admin"));
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        var leaf = Issued(ca.Issue(request.CreateSigningRequestPem(), Client, default)).Leaf;
        Assert.Empty(LeafRules.Read(leaf, SvidRules.Strict, out var reason).Except([Client]));
        Assert.Null(reason);
        Assert.Equal($"CN={Client}", leaf.Subject);   // a CN came, so a CN goes, but it names the identity
    }

    [Fact]
    public void A_lifetime_is_cut_at_the_signing_certificates_end_and_an_expired_ca_signs_nothing()
    {
        var ca = CertificateAuthority.CreateSelfSigned("cluster.local", _clock);
        using var key = CsrBuilder.NewKey();
        var csr = CsrBuilder.Build(Client, key);
        _clock.Advance(CertificateAuthority.SelfSignedLifetime - TimeSpan.FromHours(1));
        Assert.Equal(ca.Certificate.NotAfter, Issued(ca.Issue(csr, Client, TimeSpan.FromHours(24))).Leaf.NotAfter);
        _clock.Advance(TimeSpan.FromHours(1));
        Assert.Equal(IssuanceError.NotReady, Assert.IsType<IssuanceOutcome.Refused>(ca.Issue(csr, Client, default)).Error);
    }

    [Fact]
    public void A_self_signed_root_survives_being_stored()
    {
        var ca = CertificateAuthority.CreateSelfSigned("mesh.example", _clock);
        Assert.Equal(Start.UtcDateTime.AddDays(3650), ca.Certificate.NotAfter.ToUniversalTime());
        Assert.Equal(2048, ca.Certificate.GetRSAPublicKey()!.KeySize);
        Assert.Equal("O=mesh.example", ca.Certificate.Subject);
        var again = CertificateAuthority.Load(ca.CertificatePem, ca.ExportPrivateKeyPem(), "", "", _clock);
        Assert.Equal(ca.Roots, again.Roots);
        Assert.Empty(again.Intermediates);
        var svid = again.IssueSvid(Client);
        Assert.IsType<SvidVerdict.Accepted>(TestCa.Verify(ca.Roots, svid, _clock));
    }

    [Fact]
    public void Unfit_ca_files_are_refused_with_what_is_wrong()
    {
        var ca = TestCa.Intermediate(_clock);
        var other = CertificateAuthority.CreateSelfSigned("other", _clock);
        string Problem(string cert, string key, string root) => Assert.Throws<FormatException>(() => CertificateAuthority.Load(cert, key, "", root, _clock)).Message;
        Assert.Contains("no certificate", Problem("", ca.ExportPrivateKeyPem(), ""));
        Assert.Contains("does not belong", Problem(ca.CertificatePem, other.ExportPrivateKeyPem(), ca.Roots.Pem));
        Assert.Contains("does not chain", Problem(ca.CertificatePem, ca.ExportPrivateKeyPem(), other.Roots.Pem));
        Assert.Contains("not a PEM private key", Problem(ca.CertificatePem, "secret", ca.Roots.Pem));
        var svid = ca.IssueSvid(Client);
        Assert.Contains("cannot sign", Problem(PemBlocks.Encode(svid.Leaf), svid.Leaf.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem(), ca.Roots.Pem));
    }

    [Fact]
    [Scenario("L4-147")]
    public void A_new_intermediate_below_the_same_root_shows_in_the_next_leaf_and_both_are_accepted()
    {
        var root = TestCa.Root(_clock);
        var first = TestCa.Intermediate(_clock, root, "first");
        var second = TestCa.Intermediate(_clock, root, "second");
        var before = first.IssueSvid(Client);
        var after = second.IssueSvid(Client);
        Assert.Equal(SubjectKey(first.Certificate), IssuerKey(before.Leaf));
        Assert.Equal(SubjectKey(second.Certificate), IssuerKey(after.Leaf));
        Assert.NotEqual(IssuerKey(before.Leaf), IssuerKey(after.Leaf));
        Assert.IsType<SvidVerdict.Accepted>(TestCa.Verify(first.Roots, after, _clock));
        Assert.IsType<SvidVerdict.Accepted>(TestCa.Verify(second.Roots, before, _clock));
    }

    [Fact]
    public void The_root_bundle_stays_one_element_even_with_several_roots()
    {
        var root = TestCa.Root(_clock);
        var old = CertificateAuthority.CreateSelfSigned("old", _clock);
        var plugged = TestCa.Intermediate(_clock, root, "x");
        var ca = CertificateAuthority.Load(plugged.CertificatePem, plugged.ExportPrivateKeyPem(), plugged.CertificatePem + root.Pem, root.Pem + old.CertificatePem, _clock);
        using var key = CsrBuilder.NewKey();
        var chain = Issued(ca.Issue(CsrBuilder.Build(Client, key), Client, default)).CertificateChain;
        Assert.Equal(3, chain.Count);
        Assert.Equal(2, PemBlocks.Certificates(chain[2]).Count);
        Assert.Equal(2, Svid.FromCertificateChain(chain, key, Client).Roots.Roots.Count);
    }

    private static IssuanceOutcome.Issued Issued(IssuanceOutcome outcome) => Assert.IsType<IssuanceOutcome.Issued>(outcome);

    private static string Trail(string pem) => pem[pem.TrimEnd('\n').Length..];

    private static string[] Extensions(string pem) =>
        [.. PemBlocks.Certificates(pem)[0].Extensions.Where(e => e is not X509AuthorityKeyIdentifierExtension).Select(e => $"{e.Oid!.Value} {e.Critical} {Convert.ToHexString(e.RawData)}").Order()];

    private static string SubjectKey(X509Certificate2 certificate) => certificate.Extensions.OfType<X509SubjectKeyIdentifierExtension>().Single().SubjectKeyIdentifier!;

    private static string IssuerKey(X509Certificate2 certificate) =>
        Convert.ToHexString(certificate.Extensions.OfType<X509AuthorityKeyIdentifierExtension>().Single().KeyIdentifier!.Value.Span);
}
