using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Identity;

namespace AmbientMesh.ControlPlane.Tests.Certificates;

/// <summary>A folder as the Secret <c>cacerts</c> is mounted: a root elsewhere, an intermediate here.</summary>
internal sealed class PluggedInFolder : IDisposable
{
    private readonly ECDsa _rootKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
    private readonly X509Certificate2 _root;

    public PluggedInFolder(TimeProvider clock)
    {
        _root = Authority("O=Root", _rootKey).CreateSelfSigned(clock.GetUtcNow().AddDays(-1), clock.GetUtcNow().AddYears(10));
        Renew(clock);
    }

    public string Path { get; } = Directory.CreateTempSubdirectory("ca-").FullName;

    /// <summary>Writes a fresh intermediate of the same root.</summary>
    public void Renew(TimeProvider clock)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = Authority("O=Istio CA intermediate", key);
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(_root, includeKeyIdentifier: true, includeIssuerAndSerial: false));
        using var intermediate = request.Create(_root, clock.GetUtcNow().AddDays(-1), clock.GetUtcNow().AddYears(1), RandomNumberGenerator.GetBytes(16));
        Write("ca-cert.pem", PemBlocks.Encode(intermediate));
        Write("ca-key.pem", key.ExportPkcs8PrivateKeyPem());
        Write("cert-chain.pem", PemBlocks.Encode(intermediate) + PemBlocks.Encode(_root));
        Write("root-cert.pem", PemBlocks.Encode(_root));
    }

    /// <summary>Writes a revocation list of the root that names one serial number.</summary>
    public string Revoke(TimeProvider clock, byte[] serial)
    {
        var list = new CertificateRevocationListBuilder();
        list.AddEntry(serial);
        var now = clock.GetUtcNow();
        var pem = PemEncoding.WriteString("X509 CRL", list.Build(_root, 1, now.AddDays(1), HashAlgorithmName.SHA256, rsaSignaturePadding: null, now.AddMinutes(-1)));
        Write("ca-crl.pem", pem);
        return pem;
    }

    public void Write(string name, string text) => File.WriteAllText(System.IO.Path.Combine(Path, name), text);
    public string Read(string name) => File.ReadAllText(System.IO.Path.Combine(Path, name));
    public void Delete(string name) => File.Delete(System.IO.Path.Combine(Path, name));

    private static CertificateRequest Authority(string name, ECDsa key)
    {
        var request = new CertificateRequest(name, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, critical: true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, critical: false));
        return request;
    }

    public void Dispose()
    {
        _root.Dispose();
        _rootKey.Dispose();
        Directory.Delete(Path, recursive: true);
    }
}
