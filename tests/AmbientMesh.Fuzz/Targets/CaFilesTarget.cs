using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Identity;
using AmbientMesh.Model;

namespace AmbientMesh.Fuzz.Targets;

/// <summary>The CA's answer to a ztunnel, and the files of a plugged-in CA. The first byte chooses; several texts stand behind each other with NUL between, certificates in DER behind their length.</summary>
public sealed class CaFilesTarget : FuzzTarget
{
    private static readonly SpiffeId Workload = new("cluster.local", "default", "app");

    // The same in every process, so that kept inputs go on fitting them.
    private readonly ECDsa _key = Key(7), _caKey = Key(9);

    public override string Name => "ca-files";
    public override string Purpose => "certificate chains answered by a CA, plugged-in CA certificates and keys: refused with a reason that quotes no key, or an SVID of the identity and key that were asked for";
    public override int MaxBytes => 6000;
    public override long MaxAllocatedBytes(int inputBytes) => (16 << 20) + (inputBytes * 4096L);

    public override IEnumerable<byte[]> Seeds()
    {
        using var root = Root();
        using var leaf = Leaf(root);
        var (rootPem, leafPem) = (PemBlocks.Encode(root), PemBlocks.Encode(leaf));
        yield return SeedBytes.Of(0, $"{leafPem}\0{rootPem}");
        yield return SeedBytes.Of(0, $"{leafPem}{rootPem}\0{rootPem}\0{rootPem}");
        yield return SeedBytes.Of(1, [.. Counted(leaf.RawData), .. Counted(root.RawData)]);
        yield return SeedBytes.Of(2, $"{rootPem}\0{_caKey.ExportPkcs8PrivateKeyPem()}\n\0{rootPem}\0{rootPem}");
        yield return SeedBytes.Of(2, $"{rootPem}\0{_caKey.ExportECPrivateKeyPem()}\n\0\0");
        yield return SeedBytes.Of(3, [.. Counted(root.RawData), .. _caKey.ExportPkcs8PrivateKey()]);
        using var rsa = RSA.Create(1024);
        yield return SeedBytes.Of(4, rsa.ExportRSAPrivateKeyPem());
        yield return SeedBytes.Of(4, rsa.ExportPkcs8PrivateKeyPem());
        yield return SeedBytes.Of(4, _caKey.ExportECPrivateKeyPem());
    }

    public override IEnumerable<byte[]> Words() => SeedBytes.Words("-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n", "-----BEGIN EC PRIVATE KEY-----\n", "-----END EC PRIVATE KEY-----\n", "-----BEGIN RSA PRIVATE KEY-----\n", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "-----BEGIN PRIVATE KEY-----\n", "-----BEGIN PUBLIC KEY-----\n", "\0", "spiffe://cluster.local/ns/default/sa/app");

    public override void Run(byte[] input)
    {
        var mode = (input.Length > 0 ? input[0] : 0) % 5;
        var rest = new InputBytes(input.AsSpan(Math.Min(1, input.Length)));
        var texts = mode is 0 or 2 or 4 ? rest.RestAsText().Split('\0') : [];
        try
        {
            switch (mode)
            {
                case 0: CheckAnswer(texts); break;
                case 1:
                    var chain = new List<string>();
                    while (!rest.IsEmpty && chain.Count < 8) chain.Add(PemEncoding.WriteString("CERTIFICATE", rest.Take(rest.Short())) + "\n");
                    CheckAnswer(chain);
                    break;
                case 2: CheckPluggedIn(Text(texts, 0), Text(texts, 1), Text(texts, 2), Text(texts, 3)); break;
                case 3: CheckPluggedIn(PemEncoding.WriteString("CERTIFICATE", rest.Take(rest.Short())), PemEncoding.WriteString("PRIVATE KEY", rest.Rest), "", ""); break;
                default: _ = CaKey.Parse(texts[0]).ExportPem(); break;
            }
        }
        catch (FormatException e)
        {
            Demand.That(e.Message.Length is > 0 and < 2000, "a refusal has a reason");
            foreach (var line in texts.SelectMany(t => t.Split('\n')).Where(l => l.Length > 40)) Demand.That(!e.ToString().Contains(line, StringComparison.Ordinal), "a refusal does not quote a key");
        }
    }

    private void CheckAnswer(IReadOnlyList<string> chain)
    {
        var svid = Svid.FromCertificateChain(chain, _key, Workload);
        Demand.Equal(Workload, svid.Id, "the identity asked for");
        Demand.That(svid.Leaf.PublicKey.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(_key.ExportSubjectPublicKeyInfo()), "the certificate is for the key asked for");
        Demand.That(svid.Leaf.HasPrivateKey && svid.Roots.Roots.Count > 0 && svid.NotBefore <= svid.RenewAt, "an SVID is complete");
    }

    private static void CheckPluggedIn(string certificate, string key, string chain, string root)
    {
        var authority = CertificateAuthority.Load(certificate, key, chain, root, TimeProvider.System);
        Demand.That(authority.Roots.Roots.Count > 0, "a CA has roots");
    }

    private static string Text(string[] texts, int at) => at < texts.Length ? texts[at] : "";

    private static byte[] Counted(byte[] bytes) => [(byte)(bytes.Length >> 8), (byte)bytes.Length, .. bytes];

    private static ECDsa Key(byte seed) => ECDsa.Create(new ECParameters { Curve = ECCurve.NamedCurves.nistP256, D = [.. Enumerable.Repeat(seed, 32)] });

    private X509Certificate2 Root()
    {
        var request = new CertificateRequest("O=cluster.local", _caKey, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        return request.CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(100));
    }

    private X509Certificate2 Leaf(X509Certificate2 root)
    {
        var request = new CertificateRequest("CN=app", _key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddUri(new Uri(Workload.ToString()));
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1"), new Oid("1.3.6.1.5.5.7.3.2")], false));
        return request.Create(root, DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(90), [1, 2, 3]);
    }
}
