using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using static AmbientMesh.Identity.Tests.TestCa;

namespace AmbientMesh.Identity.Tests;

/// <summary>Roots of one name, as after a new key: whichever signed is found in any order, and a name alone is trusted with nothing.</summary>
public sealed class NamesakeRootTests
{
    private const string Name = "cluster.local";
    private static readonly PeerExpectation Expected = new PeerExpectation.OneOf([Peer]);
    private readonly FakeTimeProvider _clock = new(new DateTimeOffset(2026, 11, 21, 1, 0, 0, TimeSpan.Zero));
    private readonly RootKey _old;
    private readonly RootKey _new;

    public NamesakeRootTests() => (_old, _new) = (Root(_clock, Name), Root(_clock, Name));

    [Theory]
    [Scenario("L4-148")]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(false, false)]
    public void Either_root_is_found_in_either_order(bool newFirst, bool signedByNew)
    {
        var signer = signedByNew ? _new : _old;
        var leaf = new Leaf().SignedBy(signer, _clock);
        Assert.IsType<SvidVerdict.Accepted>(Judge(leaf, newFirst));
        Assert.IsType<SvidVerdict.Accepted>(Judge(leaf, newFirst, _old.Certificate, _new.Certificate));   // what the peer sends along has no say

        // The intermediate does not say which key signed it.
        var (middle, key) = Middle(signer);
        var below = new Leaf().SignedBy(signer with { Certificate = middle, Key = key }, _clock);
        var accepted = Assert.IsType<SvidVerdict.Accepted>(Judge(below, newFirst, middle));
        Assert.Equal(2, accepted.Path.Count);
    }

    [Fact]
    public void A_root_that_has_ended_does_not_hide_its_namesake()
    {
        _clock.Advance(TimeSpan.FromDays(900));
        var next = Root(_clock, Name);
        _clock.Advance(TimeSpan.FromDays(200));
        var leaf = new Leaf().SignedBy(next, _clock);
        foreach (var roots in (TrustBundle[])[_old.Bundle.Union(next.Bundle), next.Bundle.Union(_old.Bundle)])
            Assert.IsType<SvidVerdict.Accepted>(new SvidVerifier(roots, SvidRules.Strict, _clock).Verify(leaf, [], Expected));
        Assert.Contains("the clock here says", Assert.IsType<SvidVerdict.Rejected>(Judge(new Leaf().SignedBy(_old, _clock), newFirst: false)).Reason);
    }

    [Theory]
    [Scenario("T-20")]
    [InlineData(true)]
    [InlineData(false)]
    public void The_name_without_the_key_is_refused(bool newFirst)
    {
        var impostor = Root(_clock, Name);
        var leaf = new Leaf().SignedBy(impostor, _clock);
        Rejects(leaf, newFirst);
        Rejects(leaf, newFirst, impostor.Certificate);   // its own root comes along

        var (middle, key) = Middle(impostor);
        var below = new Leaf().SignedBy(impostor with { Certificate = middle, Key = key }, _clock);
        Rejects(below, newFirst, middle);
        Rejects(below, newFirst, middle, impostor.Certificate);
        Rejects(below, newFirst, middle, _old.Certificate, _new.Certificate, impostor.Certificate);

        // A true intermediate of a trusted root beside a leaf that somebody else signed under its name.
        var (trusted, _) = Middle(_new);
        Rejects(below, newFirst, trusted);

        // A root that copies the key identifier of a trusted one.
        using var own = CsrBuilder.NewKey();
        var request = new CertificateRequest($"O={Name}", own, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, true));
        request.CertificateExtensions.Add(_new.Certificate.Extensions.OfType<X509SubjectKeyIdentifierExtension>().Single());
        var copy = new RootKey(request.CreateSelfSigned(_new.From, _new.To), own, _new.From, _new.To);
        Rejects(new Leaf().SignedBy(copy, _clock), newFirst, copy.Certificate);
    }

    [Fact]
    [Scenario("L4-149")]
    public void A_list_of_one_root_says_nothing_about_its_namesake_and_a_forged_one_refuses_both()
    {
        var (good, revoked) = (new Leaf().SignedBy(_new, _clock, serial: 9), new Leaf().SignedBy(_old, _clock, serial: 9));
        var list = RevocationList.Parse(List(_old, revoked));
        Assert.True(Assert.IsType<SvidVerdict.Rejected>(Judge(revoked, newFirst: true, list)).IsRevoked);
        Assert.IsType<SvidVerdict.Accepted>(Judge(good, newFirst: true, list));
        var forged = RevocationList.Parse(List(Root(_clock, Name), revoked));
        Assert.IsType<SvidVerdict.Rejected>(Judge(good, newFirst: true, forged));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_CA_below_either_of_them_can_be_loaded(bool newFirst)
    {
        foreach (var signer in (RootKey[])[_old, _new])
        {
            var (middle, key) = Middle(signer);
            var ca = CertificateAuthority.Load(PemBlocks.Encode(middle), key.ExportPkcs8PrivateKeyPem(), "", Roots(newFirst).Pem, _clock);
            Assert.IsType<SvidVerdict.Accepted>(Verify(Roots(newFirst), ca.IssueSvid(Peer), _clock));
        }
    }

    private TrustBundle Roots(bool newFirst) => newFirst ? _new.Bundle.Union(_old.Bundle) : _old.Bundle.Union(_new.Bundle);

    private SvidVerdict Judge(X509Certificate2 leaf, bool newFirst, params X509Certificate2[] sent) => new SvidVerifier(Roots(newFirst), SvidRules.Strict, _clock).Verify(leaf, [.. sent], Expected);
    private SvidVerdict Judge(X509Certificate2 leaf, bool newFirst, RevocationList list) => new SvidVerifier(Roots(newFirst), SvidRules.Strict, _clock, list).Verify(leaf, [], Expected);

    private void Rejects(X509Certificate2 leaf, bool newFirst, params X509Certificate2[] sent) => Assert.Contains("does not chain", Assert.IsType<SvidVerdict.Rejected>(Judge(leaf, newFirst, sent)).Reason);

    /// <summary>An intermediate without authority key identifier.</summary>
    private static (X509Certificate2 Certificate, ECDsa Key) Middle(RootKey root)
    {
        var key = CsrBuilder.NewKey();
        var signed = Signer("O=middle", key).Create(root.Certificate.SubjectName, X509SignatureGenerator.CreateForECDsa(root.Key), root.From, root.To, RandomNumberGenerator.GetBytes(8));
        Assert.Empty(signed.Extensions.OfType<X509AuthorityKeyIdentifierExtension>());
        return (signed, key);
    }

    /// <summary>A list that does not say which key signed it.</summary>
    private byte[] List(RootKey root, X509Certificate2 revoked)
    {
        var builder = new CertificateRevocationListBuilder();
        builder.AddEntry(revoked);
        var identifier = X509AuthorityKeyIdentifierExtension.CreateFromIssuerNameAndSerialNumber(root.Certificate.SubjectName, [1]);   // no key identifier
        return builder.Build(root.Certificate.SubjectName, X509SignatureGenerator.CreateForECDsa(root.Key), 1, _clock.GetUtcNow().AddDays(1), HashAlgorithmName.SHA256, identifier, _clock.GetUtcNow().AddMinutes(-1));
    }
}
