using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Model;

namespace AmbientMesh.Identity;

/// <summary>Certificate signing requests as ztunnel writes them: P-256, SHA-256, empty subject, one critical URI SAN (reference 6.2).</summary>
public static class CsrBuilder
{
    /// <summary>A fresh P-256 key; the caller disposes it.</summary>
    public static ECDsa NewKey() => ECDsa.Create(ECCurve.NamedCurves.nistP256);

    /// <summary>PEM of a request for <paramref name="id"/>, signed by <paramref name="key"/>.</summary>
    public static string Build(SpiffeId id, ECDsa key)
    {
        var request = new CertificateRequest(new X500DistinguishedName([0x30, 0x00]), key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(SubjectAlternativeUris.Encode(id.ToString()));
        return request.CreateSigningRequestPem() + "\n";
    }
}
