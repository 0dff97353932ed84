using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace AmbientMesh.EndToEnd.Tests;

/// <summary>A root somewhere safe and intermediates below it, as an operator plugs them in.</summary>
internal sealed class PluggedCa : IDisposable
{
    private readonly ECDsa _rootKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
    private readonly X509Certificate2 _root;
    private int _lists;

    public PluggedCa(string name) => _root = Request($"O={name}", _rootKey).CreateSelfSigned(Now.AddDays(-1), Now.AddYears(1));

    public string RootPem => _root.ExportCertificatePem() + "\n";

    private static DateTimeOffset Now => TimeProvider.System.GetUtcNow();

    /// <summary>A new intermediate: the files of the Secret <c>cacerts</c>, and the certificate for revoking it.</summary>
    public (IReadOnlyDictionary<string, string> Files, X509Certificate2 Certificate) Intermediate(string name, string roots)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var certificate = Request($"O={name}", key).Create(_root, Now.AddHours(-1), Now.AddDays(30), RandomNumberGenerator.GetBytes(16));
        var pem = certificate.ExportCertificatePem() + "\n";
        return (new Dictionary<string, string> { ["ca-cert.pem"] = pem, ["ca-key.pem"] = key.ExportPkcs8PrivateKeyPem() + "\n", ["cert-chain.pem"] = pem + RootPem, ["root-cert.pem"] = roots }, certificate);
    }

    /// <summary>A revocation list of the root.</summary>
    public string Revoke(X509Certificate2 certificate)
    {
        var list = new CertificateRevocationListBuilder();
        list.AddEntry(certificate);
        return PemEncoding.WriteString("X509 CRL", list.Build(_root, ++_lists, Now.AddDays(1), HashAlgorithmName.SHA256, rsaSignaturePadding: null, Now.AddMinutes(-5))) + "\n";
    }

    public void Dispose()
    {
        _root.Dispose();
        _rootKey.Dispose();
    }

    private static CertificateRequest Request(string name, ECDsa key)
    {
        var request = new CertificateRequest(name, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, critical: true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, critical: false));
        return request;
    }
}
