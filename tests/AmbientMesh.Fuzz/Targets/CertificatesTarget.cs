using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using AmbientMesh.Identity;
using AmbientMesh.Model;

namespace AmbientMesh.Fuzz.Targets;

/// <summary>Everything X.509 that comes from elsewhere. The first byte chooses the parser.</summary>
public sealed class CertificatesTarget : FuzzTarget
{
    private static readonly SpiffeId Workload = new("cluster.local", "default", "app");
    private readonly CertificateAuthority _authority = CertificateAuthority.CreateSelfSigned("cluster.local", TimeProvider.System);
    private readonly SvidVerifier _verifier;

    public CertificatesTarget() => _verifier = new SvidVerifier(_authority.Roots, SvidRules.Strict, TimeProvider.System);

    public override string Name => "certificates";
    public override string Purpose => "CSR, PEM, certificates as peers, URI names, revocation lists: read or refused with a reason; nobody is admitted whom the CA did not sign";
    public override int MaxBytes => 6000;
    public override long MaxAllocatedBytes(int inputBytes) => (16 << 20) + (inputBytes * 4096L);

    public override IEnumerable<byte[]> Seeds()
    {
        using var key = CsrBuilder.NewKey();
        var csr = CsrBuilder.Build(Workload, key);
        yield return SeedBytes.Of(0, csr);
        yield return SeedBytes.Of(1, Der(csr));
        using var leaf = _authority.IssueSvid(Workload).Leaf;
        yield return SeedBytes.Of(2, PemBlocks.Encode(leaf) + PemBlocks.Encode(leaf));
        yield return SeedBytes.Of(3, leaf.RawData);
        yield return SeedBytes.Of(4, leaf.Extensions.First(e => e.Oid?.Value == SubjectAlternativeUris.Oid).RawData);
        var list = new CertificateRevocationListBuilder();
        list.AddEntry(leaf);
        using var issuer = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=ca", issuer, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        using var root = request.CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(100));
        var crl = list.Build(root, 1, DateTimeOffset.UnixEpoch.AddYears(90), HashAlgorithmName.SHA256);
        yield return SeedBytes.Of(5, crl);
        yield return SeedBytes.Of(5, PemEncoding.WriteString("X509 CRL", crl));
    }

    public override IEnumerable<byte[]> Words() => SeedBytes.Words("-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n", "-----BEGIN CERTIFICATE REQUEST-----\n", "-----BEGIN X509 CRL-----\n", "spiffe://cluster.local/ns/default/sa/app", "\0", "%2f");

    public override void Run(byte[] input)
    {
        var mode = input.Length > 0 ? input[0] : (byte)0;
        var rest = input.AsSpan(Math.Min(1, input.Length)).ToArray();
        switch (mode % 6)
        {
            case 0: CheckRequest(Encoding.UTF8.GetString(rest)); break;
            case 1: CheckRequest(PemEncoding.WriteString("CERTIFICATE REQUEST", rest)); break;
            case 2: CheckPem(Encoding.UTF8.GetString(rest)); break;
            case 3: CheckPeer(rest); break;
            case 4: CheckNames(rest); break;
            default: CheckRevocations(rest); break;
        }
    }

    private static void CheckRequest(string pem)
    {
        if (SigningRequest.TryParse(pem, out var request, out var reason)) Demand.That(request.PublicKey is not null, "a request has a key");
        else Demand.That(reason.Length is > 0 and < 2000, "a refusal has a reason");
    }

    private static void CheckPem(string pem)
    {
        List<X509Certificate2> certificates;
        try
        {
            certificates = PemBlocks.Certificates(pem);
        }
        catch (FormatException)
        {
            return;
        }
        var again = PemBlocks.Certificates(PemBlocks.Encode(certificates));
        Demand.SameSequence(certificates.Select(c => c.Thumbprint), again.Select(c => c.Thumbprint), "certificates written and read");
        foreach (var certificate in certificates.Concat(again)) certificate.Dispose();
    }

    private void CheckPeer(byte[] der)
    {
        X509Certificate2 certificate;
        try
        {
            certificate = X509CertificateLoader.LoadCertificate(der);
        }
        catch (CryptographicException)
        {
            return;
        }
        using (certificate)
        {
            var verdict = _verifier.Verify(certificate, [], new PeerExpectation.TrustDomainMember("cluster.local"));
            if (verdict is SvidVerdict.Accepted accepted) Demand.Equal(Workload, accepted.Identity, "an admitted identity");
        }
    }

    private static void CheckNames(byte[] extension)
    {
        List<string> uris = [];
        if (!SubjectAlternativeUris.TryDecode(extension, uris)) return;
        foreach (var uri in uris)
            if (SpiffeId.TryParse(uri, out var id)) Demand.Equal(uri, id.ToString(), "an identity");
    }

    private static void CheckRevocations(byte[] content)
    {
        try
        {
            var list = RevocationList.Parse(content);
            Demand.That(list.Count <= content.Length, "no more entries than bytes");
        }
        catch (FormatException e)
        {
            Demand.That(e.Message.Length > 0, "a refusal has a reason");
        }
    }

    private static byte[] Der(string pem)
    {
        var block = PemEncoding.Find(pem);
        return Convert.FromBase64String(pem[block.Base64Data]);
    }
}
