using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Model;

namespace AmbientMesh.Identity.Tests;

/// <summary>Authorities and odd certificates made for the tests; what our CA would never sign is signed here.</summary>
internal static class TestCa
{
    public static readonly SpiffeId Peer = new("cluster.local", "default", "peer");

    public sealed record RootKey(X509Certificate2 Certificate, ECDsa Key, DateTimeOffset From, DateTimeOffset To)
    {
        public string Pem => PemBlocks.Encode(Certificate);
        public TrustBundle Bundle => TrustBundle.Of([Certificate]);
    }

    public static RootKey Root(TimeProvider clock, string name = "root")
    {
        var key = CsrBuilder.NewKey();
        var (from, to) = (clock.GetUtcNow().AddDays(-1), clock.GetUtcNow().AddDays(1000));
        return new RootKey(Signer($"O={name}", key).CreateSelfSigned(from, to), key, from, to);
    }

    public static CertificateAuthority Intermediate(TimeProvider clock, RootKey? root = null, string name = "intermediate")
    {
        root ??= Root(clock);
        using var key = CsrBuilder.NewKey();
        var certificate = Signer($"O={name}", key).Create(root.Certificate, root.From, root.To, RandomNumberGenerator.GetBytes(8));
        return CertificateAuthority.Load(PemBlocks.Encode(certificate), key.ExportPkcs8PrivateKeyPem(), "", root.Pem, clock);
    }

    /// <summary>A certificate request that may sign, for chains of any length.</summary>
    public static CertificateRequest Signer(string name, ECDsa key)
    {
        var request = new CertificateRequest(name, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        return request;
    }

    /// <summary>What a leaf is made of; each test changes one thing.</summary>
    public sealed record Leaf
    {
        public string Subject { get; init; } = "";
        public string[] Uris { get; init; } = [Peer.ToString()];
        public byte[]? RawSan { get; init; }
        public bool CriticalSan { get; init; } = true;
        public bool IsAuthority { get; init; }
        public X509KeyUsageFlags? Usage { get; init; } = X509KeyUsageFlags.DigitalSignature;
        public bool CriticalUsage { get; init; } = true;
        public string[] Extended { get; init; } = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"];
        public bool Sha1 { get; init; }
        public AsymmetricAlgorithm? Key { get; init; }
        public TimeSpan Ago { get; init; } = TimeSpan.FromMinutes(2);
        public TimeSpan Life { get; init; } = TimeSpan.FromHours(24);
        public int PaddingBytes { get; init; }

        public X509Certificate2 SignedBy(RootKey root, TimeProvider clock, byte serial = 3)
        {
            var request = Key is RSA rsa
                ? new CertificateRequest(new X500DistinguishedName(Subject), new PublicKey(rsa), HashAlgorithmName.SHA256)
                : new CertificateRequest(new X500DistinguishedName(Subject), new PublicKey(Key ?? CsrBuilder.NewKey()), HashAlgorithmName.SHA256);
            AddTo(request.CertificateExtensions);
            var from = clock.GetUtcNow() - Ago;
            return request.Create(root.Certificate.SubjectName, Sha1 ? new Sha1Signatures(root.Key) : X509SignatureGenerator.CreateForECDsa(root.Key), from, from + Life, [1, 2, serial]);
        }

        private void AddTo(ICollection<X509Extension> extensions)
        {
            if (Usage is { } usage) extensions.Add(new X509KeyUsageExtension(usage, CriticalUsage));
            extensions.Add(new X509BasicConstraintsExtension(IsAuthority, false, 0, true));
            if (Extended.Length > 0) extensions.Add(new X509EnhancedKeyUsageExtension([.. Extended.Select(oid => new Oid(oid))], false));
            if (RawSan is not null || Uris.Length > 0) extensions.Add(new X509Extension(SubjectAlternativeUris.Oid, RawSan ?? San(Uris), CriticalSan));
            if (PaddingBytes > 0) extensions.Add(new X509Extension("1.2.3.4.5", new byte[PaddingBytes], false));
        }
    }

    /// <summary>A SAN of these bytes as URI names, whatever they hold.</summary>
    public static byte[] San(params string[] uris)
    {
        var writer = new System.Formats.Asn1.AsnWriter(System.Formats.Asn1.AsnEncodingRules.DER);
        using (writer.PushSequence())
            foreach (var uri in uris) writer.WriteOctetString(System.Text.Encoding.Latin1.GetBytes(uri), new(System.Formats.Asn1.TagClass.ContextSpecific, 6));
        return writer.Encode();
    }

    public static SvidVerdict Verify(TrustBundle roots, Svid svid, TimeProvider clock, SvidRules? rules = null) =>
        new SvidVerifier(roots, rules ?? SvidRules.Strict, clock).Verify(svid.Leaf, [.. svid.Intermediates], new PeerExpectation.OneOf([svid.Id]));
}
