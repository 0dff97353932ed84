using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Model;
using static AmbientMesh.Identity.Tests.TestCa;

namespace AmbientMesh.Identity.Tests;

public sealed class SvidVerifierTests
{
    private static readonly PeerExpectation Expected = new PeerExpectation.OneOf([Peer]);
    private readonly FakeTimeProvider _clock = new(new DateTimeOffset(2026, 11, 21, 1, 0, 0, TimeSpan.Zero));
    private readonly RootKey _root;

    public SvidVerifierTests() => _root = Root(_clock);

    [Fact]
    public void A_proper_svid_is_accepted_and_names_its_peer()
    {
        var accepted = Assert.IsType<SvidVerdict.Accepted>(Judge(new Leaf()));
        Assert.Equal(Peer, accepted.Identity);
        Assert.Equal(_clock.GetUtcNow() + TimeSpan.FromHours(24) - TimeSpan.FromMinutes(2), accepted.NotAfter);
    }

    [Fact]
    public void The_recorded_chain_of_istios_layout_is_accepted()
    {
        var chain = Protocol.Ca.IstioCertificateResponse.Parser.ParseFrom(Samples.Hex("samples/ztunnel/ca/wildcard-response-client.hex")).CertChain;
        var leaf = PemBlocks.Certificates(chain[0])[0];
        var clock = new FakeTimeProvider(new DateTimeOffset(leaf.NotBefore.ToUniversalTime()).AddHours(1));
        var verifier = new SvidVerifier(TrustBundle.Parse(chain[^1]), SvidRules.Strict, clock);
        var verdict = verifier.Verify(leaf, [.. PemBlocks.Certificates(chain[1])], new PeerExpectation.TrustDomainMember("cluster.local"));
        Assert.Equal(new SpiffeId("cluster.local", "default", "client"), Assert.IsType<SvidVerdict.Accepted>(verdict).Identity);
    }

    [Fact]
    [Scenario("T-17")]
    public void Two_uri_names_are_refused_unless_read_as_istio_does()
    {
        var leaf = new Leaf { Uris = ["https://example.com", Peer.ToString(), "spiffe://cluster.local/ns/kube-system/sa/admin"] };
        Rejects(leaf, "exactly one");
        Assert.Equal(Peer, Assert.IsType<SvidVerdict.Accepted>(Judge(leaf, rules: SvidRules.IstioLax)).Identity);
        var member = Judge(leaf, new PeerExpectation.TrustDomainMember("cluster.local"), SvidRules.IstioLax);
        Assert.Equal(Peer, Assert.IsType<SvidVerdict.Accepted>(member).Identity);
    }

    [Fact]
    public void A_leaf_without_a_uri_name_is_refused()
    {
        Rejects(new Leaf { Uris = [] }, "no URI");
        Rejects(new Leaf { RawSan = [0x30, 0x00] }, "no URI");
    }

    [Fact]
    [Scenario("T-18")]
    public void Certificates_that_may_sign_or_may_not_authenticate_are_refused()
    {
        Rejects(new Leaf { IsAuthority = true }, "is a CA");
        Rejects(new Leaf { Usage = X509KeyUsageFlags.DigitalSignature | X509KeyUsageFlags.KeyCertSign }, "keyCertSign");
        Rejects(new Leaf { Usage = X509KeyUsageFlags.DigitalSignature | X509KeyUsageFlags.CrlSign }, "cRLSign");
        Rejects(new Leaf { Usage = X509KeyUsageFlags.KeyEncipherment }, "digitalSignature");
        Rejects(new Leaf { Usage = null }, "no key usage");
        Rejects(new Leaf { CriticalUsage = false }, "not critical");
        Rejects(new Leaf { Extended = ["1.3.6.1.5.5.7.3.1"] }, "clientAuth");
        Rejects(new Leaf { Extended = ["1.3.6.1.5.5.7.3.2"] }, "serverAuth");
        Assert.IsType<SvidVerdict.Accepted>(Judge(new Leaf { Extended = [] }));   // absent is allowed
        Rejects(_root.Certificate, "is a CA");
    }

    [Theory]
    [Scenario("T-19")]
    [InlineData("spiffe://cluster.local/ns/default/sa/peer\0")]
    [InlineData("spiffe://cluster.local\0.evil/ns/default/sa/peer")]
    [InlineData("SPIFFE://cluster.local/ns/default/sa/peer")]
    [InlineData("spiffe://Cluster.local/ns/default/sa/peer")]
    [InlineData("spiffe://cluster.local/ns/default/sa/peer/")]
    [InlineData("spiffe://cluster.local/ns/default%2fsa/sa/peer")]
    [InlineData("spiffe://cluster.local/ns//sa/peer")]
    [InlineData("spiffe://cluster.local")]
    [InlineData("spiffe://cluster.local/")]
    [InlineData("spiffe:///ns/default/sa/peer")]
    [InlineData("spiffe://user@cluster.local/ns/default/sa/peer")]
    [InlineData("spiffe://cluster.local:80/ns/default/sa/peer")]
    [InlineData("spiffe://cluster.local/ns/default/sa/peer?x=1")]
    [InlineData("spiffe://cluster.local/ns/default/sa/peer#x")]
    [InlineData("spiffe://cluster.local/ns/default/sa/p\u00e9er")]
    [InlineData("spiffe://cluster.local/ns/../sa/peer")]
    [InlineData("https://cluster.local/ns/default/sa/peer")]
    public void Names_that_are_not_byte_exact_are_refused(string uri)
    {
        var member = Judge(new Leaf { RawSan = San(uri) }, new PeerExpectation.TrustDomainMember("cluster.local"));
        Assert.IsType<SvidVerdict.Rejected>(member);
        Assert.IsType<SvidVerdict.Rejected>(Judge(new Leaf { RawSan = San(uri) }, new PeerExpectation.TrustDomainMember("cluster.local"), SvidRules.IstioLax));
    }

    [Fact]
    [Scenario("T-19")]
    public void An_other_name_is_never_read_as_a_uri()
    {
        byte[] otherName = [0x30, 0x0c, 0xa0, 0x0a, 0x06, 0x03, 0x2a, 0x03, 0x04, 0xa0, 0x03, 0x0c, 0x01, (byte)'x'];
        Rejects(new Leaf { RawSan = otherName }, "no URI");
        Rejects(new Leaf { RawSan = [0x30, 0x05, 0x86, 0x7f] }, "decoded");
        Rejects(new Leaf { RawSan = [] }, "decoded");
    }

    [Fact]
    public void An_empty_subject_needs_a_critical_name()
    {
        Rejects(new Leaf { CriticalSan = false }, "critical");
        Assert.IsType<SvidVerdict.Accepted>(Judge(new Leaf { CriticalSan = false, Subject = "CN=peer" }));
    }

    [Fact]
    [Scenario("T-20")]
    public void Another_trust_domain_is_refused_even_with_our_root()
    {
        var foreign = new Leaf { Uris = ["spiffe://other.local/ns/default/sa/peer"] };
        Rejects(foreign, "expected one of");
        Assert.IsType<SvidVerdict.Rejected>(Judge(foreign, new PeerExpectation.TrustDomainMember("cluster.local")));
        Assert.IsType<SvidVerdict.Accepted>(Judge(foreign, new PeerExpectation.TrustDomainMember("other.local")));
    }

    [Fact]
    public void An_identity_that_was_not_expected_is_refused_and_no_expectation_accepts_nobody()
    {
        Assert.IsType<SvidVerdict.Rejected>(Judge(new Leaf(), new PeerExpectation.OneOf([Peer with { ServiceAccount = "other" }])));
        Assert.IsType<SvidVerdict.Rejected>(Judge(new Leaf(), new PeerExpectation.OneOf([])));
        Assert.IsType<SvidVerdict.Rejected>(new SvidVerifier(_root.Bundle, SvidRules.Strict, _clock).Verify(null, [], Expected));
    }

    [Fact]
    [Scenario("T-21")]
    public void Time_is_judged_at_every_use_also_of_a_remembered_chain()
    {
        var verifier = new SvidVerifier(_root.Bundle, SvidRules.Strict, _clock);
        var leaf = new Leaf().SignedBy(_root, _clock);
        Assert.IsType<SvidVerdict.Accepted>(verifier.Verify(leaf, [], Expected));
        _clock.Advance(TimeSpan.FromHours(24));
        Assert.Contains("expired", Assert.IsType<SvidVerdict.Rejected>(verifier.Verify(leaf, [], Expected)).Reason);
        Rejects(new Leaf { Ago = TimeSpan.FromMinutes(-5) }, "chain");
        Rejects(new Leaf { Ago = TimeSpan.FromHours(30) }, "chain");
    }

    [Fact]
    public void Weak_keys_and_signatures_are_refused()
    {
        using var small = RSA.Create(1024);
        Rejects(new Leaf { Key = small }, "1024");
        Rejects(new Leaf { Sha1 = true }, "weak");
    }

    [Fact]
    public void An_unknown_root_is_refused()
    {
        var other = Root(_clock);
        Assert.Contains("does not chain", Assert.IsType<SvidVerdict.Rejected>(
            new SvidVerifier(other.Bundle, SvidRules.Strict, _clock).Verify(new Leaf().SignedBy(_root, _clock), [_root.Certificate], Expected)).Reason);
    }

    [Fact]
    [Scenario("L4-148")]
    public void Peers_of_either_root_of_a_bundle_are_accepted()
    {
        var other = Root(_clock, "other");
        var verifier = new SvidVerifier(_root.Bundle.Union(other.Bundle), SvidRules.Strict, _clock);
        Assert.IsType<SvidVerdict.Accepted>(verifier.Verify(new Leaf().SignedBy(_root, _clock), [], Expected));
        Assert.IsType<SvidVerdict.Accepted>(verifier.Verify(new Leaf().SignedBy(other, _clock), [], Expected));
    }

    [Fact]
    [Scenario("T-26")]
    public void Large_and_deep_chains_are_refused()
    {
        Rejects(new Leaf { PaddingBytes = 17 * 1024 }, "at most 16384");
        var big = new Leaf { PaddingBytes = 9 * 1024 }.SignedBy(_root, _clock);
        var more = new Leaf { PaddingBytes = 9 * 1024, Uris = ["spiffe://x/ns/a/sa/b"] }.SignedBy(_root, _clock);
        Assert.Contains("at most 16384", Reason(new SvidVerifier(_root.Bundle, SvidRules.Strict, _clock).Verify(big, [more], Expected)));

        var (issuer, sent) = Descend(levels: 3);
        Assert.Contains("path of 5", Reason(new SvidVerifier(_root.Bundle, SvidRules.Strict, _clock).Verify(new Leaf().SignedBy(issuer, _clock), sent, Expected)));
        (issuer, sent) = Descend(levels: 2);
        Assert.IsType<SvidVerdict.Accepted>(new SvidVerifier(_root.Bundle, SvidRules.Strict, _clock).Verify(new Leaf().SignedBy(issuer, _clock), sent, Expected));
    }

    [Fact]
    public void A_leaf_signed_by_a_leaf_is_refused()
    {
        var key = CsrBuilder.NewKey();
        var middle = new Leaf { Subject = "CN=middle", Key = key }.SignedBy(_root, _clock);
        var issuer = _root with { Certificate = middle, Key = key };
        Assert.Contains("does not chain", Reason(new SvidVerifier(_root.Bundle, SvidRules.Strict, _clock).Verify(new Leaf().SignedBy(issuer, _clock), [middle], Expected)));
    }

    [Fact]
    public void A_signing_certificate_with_a_workloads_name_is_refused()
    {
        using var key = CsrBuilder.NewKey();
        var request = Signer("O=middle", key);
        request.CertificateExtensions.Add(SubjectAlternativeUris.Encode(Peer.ToString()));
        var middle = request.Create(_root.Certificate, _root.From, _root.To, [7]);
        var verdict = new SvidVerifier(_root.Bundle, SvidRules.Strict, _clock).Verify(new Leaf().SignedBy(_root with { Certificate = middle, Key = key }, _clock), [middle], Expected);
        Assert.Contains("with a path", Reason(verdict));
    }

    [Fact]
    public void Lifetime_can_be_limited()
    {
        var rules = SvidRules.Strict with { MaxLeafLifetime = TimeSpan.FromHours(24) + TimeSpan.FromMinutes(2) };
        Assert.IsType<SvidVerdict.Accepted>(Judge(new Leaf { Life = TimeSpan.FromHours(24) + TimeSpan.FromMinutes(2) }, rules: rules));
        Assert.Contains("lives", Reason(Judge(new Leaf { Life = TimeSpan.FromDays(2) }, rules: rules)));
    }

    [Fact]
    public void A_remembered_chain_is_bound_to_every_byte_the_peer_sent()
    {
        var verifier = new SvidVerifier(_root.Bundle, SvidRules.Strict, _clock);
        var leaf = new Leaf().SignedBy(_root, _clock);
        Assert.IsType<SvidVerdict.Accepted>(verifier.Verify(leaf, [], Expected));
        var bytes = leaf.RawData;
        bytes[^3] ^= 1;   // inside the signature
        Assert.IsType<SvidVerdict.Rejected>(verifier.Verify(X509CertificateLoader.LoadCertificate(bytes), [], Expected));
        Assert.IsType<SvidVerdict.Accepted>(verifier.Verify(leaf, [], Expected));
    }

    [Fact]
    public void No_change_of_one_byte_makes_it_throw_or_pass()
    {
        var bytes = new Leaf().SignedBy(_root, _clock).RawData;
        var verifier = new SvidVerifier(_root.Bundle, SvidRules.Strict, _clock);
        for (var i = 0; i < bytes.Length; i++)
            foreach (var mask in new byte[] { 0x01, 0x80 })
            {
                var changed = (byte[])bytes.Clone();
                changed[i] ^= mask;
                if (TryLoad(changed) is { } leaf) Assert.False(verifier.Verify(leaf, [], Expected) is SvidVerdict.Accepted, $"byte {i} changed by {mask:x}");
            }
    }

    [Fact]
    public void A_remembered_chain_costs_no_second_proof()
    {
        var verifier = new SvidVerifier(_root.Bundle, SvidRules.Strict, _clock);
        var leaf = new Leaf().SignedBy(_root, _clock);
        Assert.IsType<SvidVerdict.Accepted>(verifier.Verify(leaf, [], Expected));
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 100; i++) verifier.Verify(leaf, [], Expected);
        Assert.InRange((GC.GetAllocatedBytesForCurrentThread() - before) / 100, 0, 1500);   // a proof takes 7 KB, a memory of it 0.5 KB
    }

    private static X509Certificate2? TryLoad(byte[] bytes)
    {
        try
        {
            return X509CertificateLoader.LoadCertificate(bytes);
        }
        catch (CryptographicException)
        {
            return null;
        }
    }

    private (RootKey Issuer, X509Certificate2Collection Sent) Descend(int levels)
    {
        var issuer = _root;
        X509Certificate2Collection sent = [];
        for (var i = 0; i < levels; i++)
        {
            var key = CsrBuilder.NewKey();
            var certificate = Signer($"O=level{i}", key).Create(issuer.Certificate.SubjectName, X509SignatureGenerator.CreateForECDsa(issuer.Key), _root.From, _root.To, [(byte)(i + 1)]);
            sent.Add(certificate);
            issuer = issuer with { Certificate = certificate, Key = key };
        }
        return (issuer, sent);
    }

    private SvidVerdict Judge(Leaf leaf, PeerExpectation? expectation = null, SvidRules? rules = null) =>
        new SvidVerifier(_root.Bundle, rules ?? SvidRules.Strict, _clock).Verify(leaf.SignedBy(_root, _clock), [], expectation ?? Expected);

    private void Rejects(Leaf leaf, string reason) => Assert.Contains(reason, Reason(Judge(leaf)));
    private void Rejects(X509Certificate2 leaf, string reason) => Assert.Contains(reason, Reason(new SvidVerifier(_root.Bundle, SvidRules.Strict, _clock).Verify(leaf, [], Expected)));
    private static string Reason(SvidVerdict verdict) => Assert.IsType<SvidVerdict.Rejected>(verdict).Reason;
}
