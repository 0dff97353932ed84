using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Model;

namespace AmbientMesh.Identity;

/// <summary>What goes into a leaf before it is signed (reference 6.5); nothing of the CSR but its key.</summary>
internal static class LeafTemplate
{
    private const int MaxCommonName = 64;   // RFC 5280 A.1: ub-common-name

    public static CertificateRequest ForWorkload(PublicKey key, SpiffeId id, bool withCommonName, X509Certificate2 issuer)
    {
        // Only a CSR with a CN gets one back, and then it is the identity, not what was asked for.
        var name = id.ToString();
        var request = Common(withCommonName && name.Length <= MaxCommonName ? CommonName(name) : new X500DistinguishedName([0x30, 0x00]), key, issuer);
        request.CertificateExtensions.Add(SubjectAlternativeUris.Encode(name));
        return request;
    }

    public static CertificateRequest ForServer(PublicKey key, IReadOnlyList<string> dnsNames, IReadOnlyList<IPAddress> addresses, X509Certificate2 issuer)
    {
        var names = new SubjectAlternativeNameBuilder();
        foreach (var dns in dnsNames) names.AddDnsName(dns);
        foreach (var address in addresses) names.AddIpAddress(address);
        var request = Common(new X500DistinguishedName([0x30, 0x00]), key, issuer);
        request.CertificateExtensions.Add(names.Build(critical: true));
        return request;
    }

    private static CertificateRequest Common(X500DistinguishedName subject, PublicKey key, X509Certificate2 issuer)
    {
        // The hash is that of the signature, the padding of an RSA issuer; an EC issuer ignores it.
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature | X509KeyUsageFlags.KeyEncipherment, critical: true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1"), new Oid("1.3.6.1.5.5.7.3.2")], critical: false));
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, critical: true));
        if (issuer.Extensions.OfType<X509SubjectKeyIdentifierExtension>().FirstOrDefault() is { } identifier)
            request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromSubjectKeyIdentifier(identifier));
        return request;
    }

    private static X500DistinguishedName CommonName(string name)
    {
        var builder = new X500DistinguishedNameBuilder();
        builder.AddCommonName(name);
        return builder.Build();
    }
}
