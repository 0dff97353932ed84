using System.Numerics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using static AmbientMesh.Identity.Tests.TestCa;

namespace AmbientMesh.Identity.Tests;

public sealed class RevocationListTests
{
    private static readonly PeerExpectation Expected = new PeerExpectation.OneOf([Peer]);
    private readonly FakeTimeProvider _clock = new(new DateTimeOffset(2026, 11, 21, 1, 0, 0, TimeSpan.Zero));
    private readonly RootKey _root;
    private readonly X509Certificate2 _leaf;

    public RevocationListTests()
    {
        _root = Root(_clock);
        _leaf = new Leaf().SignedBy(_root, _clock);
    }

    [Fact]
    [Scenario("L4-149", "T-21")]
    public void A_revoked_leaf_is_refused_and_says_that_a_list_decided()
    {
        var accepted = Assert.IsType<SvidVerdict.Accepted>(Judge(_leaf, RevocationList.None));
        var list = RevocationList.Parse(Sign(_root, _leaf));
        var rejected = Assert.IsType<SvidVerdict.Rejected>(Judge(_leaf, list));
        Assert.True(rejected.IsRevoked);
        Assert.Contains("is revoked", rejected.Reason);
        Assert.True(list.Revokes(accepted.Path));   // a connection that was accepted before
        Assert.Equal(1, list.Count);
    }

    [Fact]
    [Scenario("L4-149")]
    public void A_revoked_intermediate_takes_its_leafs_with_it()
    {
        using var key = CsrBuilder.NewKey();
        var middle = Signer("O=middle", key).Create(_root.Certificate, _root.From, _root.To, [0x00, 0x9a]);
        var leaf = new Leaf().SignedBy(_root with { Certificate = middle, Key = key }, _clock);
        var accepted = Assert.IsType<SvidVerdict.Accepted>(Judge(leaf, RevocationList.None, middle));
        Assert.Equal(2, accepted.Path.Count);
        var list = RevocationList.Parse(Sign(_root, middle));
        Assert.True(Assert.IsType<SvidVerdict.Rejected>(Judge(leaf, list, middle)).IsRevoked);
        Assert.True(list.Revokes(accepted.Path));
    }

    /// <summary>What a list costs is paid when it is read; a verdict over a large one allocates what one over a small one does.</summary>
    [Fact]
    [Scenario("T-26")]
    public void A_large_list_makes_no_verdict_dearer()
    {
        var builder = new CertificateRevocationListBuilder();
        for (var i = 0; i < 50_000; i++) builder.AddEntry([1, (byte)(i >> 16), (byte)(i >> 8), (byte)i], _clock.GetUtcNow());
        var large = RevocationList.Parse(Sign(_root, builder));
        Assert.Equal(50_000, large.Count);
        var small = RevocationList.Parse(Sign(_root));
        Assert.InRange(SecondVerdictBytes(large), 0, SecondVerdictBytes(small) + 4096);
    }

    private long SecondVerdictBytes(RevocationList list)
    {
        var verifier = new SvidVerifier(_root.Bundle, SvidRules.Strict, _clock, list);
        Assert.IsType<SvidVerdict.Accepted>(verifier.Verify(_leaf, [], Expected));
        var before = GC.GetAllocatedBytesForCurrentThread();
        Assert.IsType<SvidVerdict.Accepted>(verifier.Verify(_leaf, [], Expected));
        return GC.GetAllocatedBytesForCurrentThread() - before;
    }

    [Fact]
    public void Others_are_not_touched()
    {
        var other = new Leaf { Subject = "CN=other" }.SignedBy(_root, _clock, serial: 77);
        var list = RevocationList.Parse(Sign(_root, other));
        Assert.IsType<SvidVerdict.Accepted>(Judge(_leaf, list));
        Assert.IsType<SvidVerdict.Accepted>(Judge(_leaf, RevocationList.Parse(Sign(_root))));   // a list of nobody
        var elsewhere = Root(_clock, "elsewhere");
        Assert.IsType<SvidVerdict.Accepted>(Judge(_leaf, RevocationList.Parse(Sign(elsewhere, new Leaf().SignedBy(elsewhere, _clock)))));   // unknown status is allowed
    }

    [Fact]
    public void A_list_of_another_key_of_the_same_name_is_not_this_issuers()
    {
        var namesake = Root(_clock);
        Assert.IsType<SvidVerdict.Accepted>(Judge(_leaf, RevocationList.Parse(Sign(namesake, _leaf))));
    }

    [Fact]
    public void A_list_with_a_wrong_signature_fails_closed()
    {
        var forged = _root with { Key = CsrBuilder.NewKey() };
        var rejected = Assert.IsType<SvidVerdict.Rejected>(Judge(_leaf, RevocationList.Parse(Sign(forged))));
        Assert.Contains("wrong signature", rejected.Reason);
    }

    [Fact]
    public void Several_blocks_and_der_are_read_and_nothing_is_nobody()
    {
        var second = Root(_clock, "second");
        var pem = Pem(Sign(_root, _leaf)) + "text between\n" + Pem(Sign(second, new Leaf().SignedBy(second, _clock)));
        Assert.Equal(2, RevocationList.Parse(Encoding.ASCII.GetBytes(pem)).Count);
        Assert.Same(RevocationList.None, RevocationList.Parse(" \n"u8));
        Assert.Same(RevocationList.None, RevocationList.Parse([]));
    }

    [Theory]
    [InlineData("hello")]
    [InlineData("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
    [InlineData("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")]
    public void What_is_no_list_is_an_error(string text) => Assert.Throws<FormatException>(() => RevocationList.Parse(Encoding.ASCII.GetBytes(text)));

    [Fact]
    public void No_change_of_one_byte_makes_it_throw_anything_else_or_let_the_leaf_pass()
    {
        var der = Sign(_root, _leaf);
        var keyId = der.AsSpan().IndexOf(_root.Certificate.Extensions.OfType<X509SubjectKeyIdentifierExtension>().Single().SubjectKeyIdentifierBytes.Span);
        for (var i = 0; i < der.Length; i++)
        {
            var changed = (byte[])der.Clone();
            changed[i] ^= 0x01;
            if (i >= keyId && i < keyId + 20) continue;   // says that it is the list of another key
            if (TryParse(changed) is { } list && list.Revokes([CertificateSerial.Of(_leaf)])) Assert.IsType<SvidVerdict.Rejected>(Judge(_leaf, list));
        }
    }

    private SvidVerdict Judge(X509Certificate2 leaf, RevocationList list, params X509Certificate2[] sent) =>
        new SvidVerifier(_root.Bundle, SvidRules.Strict, _clock, list).Verify(leaf, [.. sent], Expected);

    private byte[] Sign(RootKey issuer, params X509Certificate2[] revoked)
    {
        var builder = new CertificateRevocationListBuilder();
        foreach (var certificate in revoked) builder.AddEntry(certificate.SerialNumberBytes.Span, _clock.GetUtcNow());
        return Sign(issuer, builder);
    }

    private byte[] Sign(RootKey issuer, CertificateRevocationListBuilder builder)
    {
        var identifier = issuer.Certificate.Extensions.OfType<X509SubjectKeyIdentifierExtension>().Single();
        return builder.Build(issuer.Certificate.SubjectName, X509SignatureGenerator.CreateForECDsa(issuer.Key), BigInteger.One, _clock.GetUtcNow().AddDays(1), HashAlgorithmName.SHA256, X509AuthorityKeyIdentifierExtension.CreateFromSubjectKeyIdentifier(identifier), _clock.GetUtcNow());
    }

    private static string Pem(byte[] der) => PemEncoding.WriteString("X509 CRL", der) + "\n";

    private static RevocationList? TryParse(byte[] der)
    {
        try
        {
            return RevocationList.Parse(der);
        }
        catch (FormatException)
        {
            return null;
        }
    }
}
