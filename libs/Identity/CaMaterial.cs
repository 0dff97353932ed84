using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace AmbientMesh.Identity;

/// <summary>Where a CA's key and certificates come from: made here, or loaded and checked (reference 6.6).</summary>
internal static class CaMaterial
{
    public static CertificateAuthority CreateSelfSigned(string trustDomain, TimeProvider clock, TimeSpan lifetime, IssuancePolicy policy, int keyBits)
    {
        var key = CaKey.NewRsa(keyBits);
        var root = Root(trustDomain, key, clock.GetUtcNow(), lifetime);
        return new CertificateAuthority(key, root, [], TrustBundle.Of([root]), clock) { Policy = policy };
    }

    public static CertificateAuthority Load(string certificatePem, string keyPem, string chainPem, string rootPem, TimeProvider clock, IssuancePolicy policy)
    {
        try
        {
            return LoadChecked(certificatePem, keyPem, chainPem, rootPem, clock, policy);
        }
        catch (CryptographicException problem)
        {
            throw new FormatException($"the CA certificates cannot be read: {problem.Message}", problem);
        }
    }

    private static CertificateAuthority LoadChecked(string certificatePem, string keyPem, string chainPem, string rootPem, TimeProvider clock, IssuancePolicy policy)
    {
        if (PemBlocks.Certificates(certificatePem) is not [var certificate, ..]) throw new FormatException("the CA certificate file holds no certificate");
        if (SignerRules.Problem(certificate) is { } problem) throw new FormatException($"the CA certificate cannot sign: {problem}");
        var key = CaKey.Parse(keyPem);
        if (!key.Matches(certificate)) throw new FormatException("the CA key does not belong to the CA certificate");
        var roots = string.IsNullOrWhiteSpace(rootPem) ? TrustBundle.Of([certificate]) : TrustBundle.Parse(rootPem);
        var intermediates = Intermediates(certificate, PemBlocks.Certificates(chainPem), roots);
        RequireChain(certificate, intermediates, roots, clock);
        return new CertificateAuthority(key, certificate, intermediates, roots, clock) { Policy = policy };
    }

    /// <summary>The signing certificate first unless it is a root; roots that the chain file repeats are dropped.</summary>
    private static X509Certificate2[] Intermediates(X509Certificate2 certificate, List<X509Certificate2> chain, TrustBundle roots) =>
        [.. chain.Prepend(certificate).DistinctBy(c => c.Thumbprint).Where(c => !roots.Roots.Any(root => root.Thumbprint == c.Thumbprint))];

    private static void RequireChain(X509Certificate2 certificate, X509Certificate2[] intermediates, TrustBundle roots, TimeProvider clock)
    {
        // An expired CA is reported when it is asked to sign.
        using var chain = ChainBuilding.TryBuild(certificate, [.. intermediates], roots, clock.GetUtcNow(), X509VerificationFlags.IgnoreNotTimeValid, out var problem, out _)
            ?? throw new FormatException($"the CA certificate does not chain to the root bundle: {problem}");
    }

    private static X509Certificate2 Root(string trustDomain, CaKey key, DateTimeOffset now, TimeSpan lifetime)
    {
        var name = new X500DistinguishedNameBuilder();
        name.AddOrganizationName(trustDomain);
        var request = new CertificateRequest(name.Build(), key.Generator.PublicKey, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, critical: true));
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: false, pathLengthConstraint: 0, critical: true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, critical: false));
        var serial = RandomNumberGenerator.GetBytes(16);
        serial[0] = (byte)((serial[0] & 0x7f) | 0x40);
        return request.Create(request.SubjectName, key.Generator, now, now + lifetime, serial);
    }
}
