using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Model;

namespace AmbientMesh.Identity;

/// <summary>How strictly a peer's certificate is read.</summary>
public sealed record SvidRules
{
    /// <summary>SPIFFE X509-SVID as written: exactly one URI SAN. The default.</summary>
    public static SvidRules Strict { get; } = new();

    /// <summary>Istio's laxer reading: any number of URI SANs, of which those that are SPIFFE IDs count and the first names the peer.</summary>
    public static SvidRules IstioLax { get; } = new() { AllowSeveralUris = true };

    /// <summary>True accepts several URI SANs, as Istio does.</summary>
    public bool AllowSeveralUris { get; init; }

    /// <summary>Bytes of the leaf and everything the peer sent with it, at most.</summary>
    public int MaxChainBytes { get; init; } = 16 * 1024;

    /// <summary>Certificates on the path from leaf to root, both included, at most.</summary>
    public int MaxDepth { get; init; } = 4;

    /// <summary>Longest life of a leaf (notAfter - notBefore); null sets no limit beyond the issuer's.</summary>
    public TimeSpan? MaxLeafLifetime { get; init; }
}

/// <summary>What a leaf says about itself: the identities it carries, or why it is not an SVID.</summary>
internal static class LeafRules
{
    private const X509KeyUsageFlags SigningUsages = X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign;
    private const string ServerAuth = "1.3.6.1.5.5.7.3.1";
    private const string ClientAuth = "1.3.6.1.5.5.7.3.2";

    /// <summary>The identities, or an empty list with the reason. Sources: SPIFFE X509-SVID §2, §4, §5.2; threats T-17 to T-19.</summary>
    public static IReadOnlyList<SpiffeId> Read(X509Certificate2 leaf, SvidRules rules, out string? reason)
    {
        reason = UsageProblem(leaf) ?? LifetimeProblem(leaf, rules) ?? KeyStrength.Problem(leaf);
        if (reason is not null || !SubjectAlternativeUris.TryRead(leaf, out var uris, out var critical, out reason)) return [];
        reason = NameProblem(leaf, rules, uris.Count, critical);
        return reason is null ? Identities(uris, out reason) : [];
    }

    private static List<SpiffeId> Identities(List<string> uris, out string? reason)
    {
        List<SpiffeId> ids = [];
        reason = null;
        foreach (var uri in uris)
            if (SpiffeId.TryParse(uri, out var id, out var problem)) ids.Add(id);
            else reason ??= problem;
        if (ids.Count > 0) reason = null;
        return ids;
    }

    private static string? NameProblem(X509Certificate2 leaf, SvidRules rules, int uris, bool critical)
    {
        if (uris == 0) return "certificate has no URI subject alternative name";
        if (uris > 1 && !rules.AllowSeveralUris) return $"certificate has {uris} URI subject alternative names; an SVID has exactly one";
        return leaf.SubjectName.RawData.Length <= 2 && !critical ? "subject is empty, so the subject alternative name must be critical" : null;
    }

    private static string? UsageProblem(X509Certificate2 leaf)
    {
        X509KeyUsageExtension? usage = null;
        foreach (var extension in leaf.Extensions)
            switch (extension)
            {
                case X509BasicConstraintsExtension { CertificateAuthority: true }: return "certificate is a CA, which never authenticates a peer";
                case X509KeyUsageExtension found: usage = found; break;
                case X509EnhancedKeyUsageExtension extended when !HasBoth(extended): return "extended key usage lacks serverAuth or clientAuth";
            }
        if (usage is null) return "certificate has no key usage";
        if (!usage.Critical) return "key usage is not critical";
        if ((usage.KeyUsages & SigningUsages) != 0) return "key usage of a leaf has keyCertSign or cRLSign";
        return (usage.KeyUsages & X509KeyUsageFlags.DigitalSignature) == 0 ? "key usage lacks digitalSignature" : null;
    }

    private static bool HasBoth(X509EnhancedKeyUsageExtension usage)
    {
        bool server = false, client = false;
        foreach (var oid in usage.EnhancedKeyUsages)
        {
            server |= oid.Value == ServerAuth;
            client |= oid.Value == ClientAuth;
        }
        return server && client;
    }

    private static string? LifetimeProblem(X509Certificate2 leaf, SvidRules rules) =>
        rules.MaxLeafLifetime is { } limit && leaf.NotAfter - leaf.NotBefore > limit
            ? $"certificate lives {leaf.NotAfter - leaf.NotBefore}; at most {limit} is allowed"
            : null;
}

/// <summary>What a signing certificate on the path must be. Sources: SPIFFE X509-SVID §4.2, §4.3, §5.</summary>
internal static class SignerRules
{
    public static string? Problem(X509Certificate2 signer)
    {
        var isAuthority = false;
        X509KeyUsageExtension? usage = null;
        foreach (var extension in signer.Extensions)
            switch (extension)
            {
                case X509BasicConstraintsExtension constraints: isAuthority = constraints.CertificateAuthority; break;
                case X509KeyUsageExtension found: usage = found; break;
            }
        if (!isAuthority) return $"signing certificate {signer.Subject} is not a CA";
        if (usage is null || (usage.KeyUsages & X509KeyUsageFlags.KeyCertSign) == 0) return $"signing certificate {signer.Subject} lacks keyCertSign";
        return KeyStrength.Problem(signer) ?? NameProblem(signer);
    }

    private static string? NameProblem(X509Certificate2 signer)
    {
        if (!SubjectAlternativeUris.TryRead(signer, out var uris, out _, out var reason)) return reason;
        foreach (var uri in uris)
            if (uri.StartsWith(SpiffeId.Scheme, StringComparison.Ordinal) && uri.IndexOf('/', SpiffeId.Scheme.Length) >= 0)
                return $"signing certificate {signer.Subject} carries a SPIFFE ID with a path";
        return null;
    }
}

/// <summary>Weak keys and signatures: RSA below 2048 bits, SHA-1 and MD5.</summary>
internal static class KeyStrength
{
    public const int MinRsaBits = 2048;
    public const string RsaOid = "1.2.840.113549.1.1.1";

    private static readonly HashSet<string> WeakSignatures =
    [
        "1.2.840.113549.1.1.2", "1.2.840.113549.1.1.3", "1.2.840.113549.1.1.4", "1.2.840.113549.1.1.5",   // md2, md4, md5, sha1 with RSA
        "1.2.840.10045.4.1", "1.2.840.10040.4.3", "1.3.14.3.2.29",   // ecdsa-with-SHA1, dsa-with-SHA1, the old sha1 with RSA
    ];

    public static bool IsWeakSignature(string? oid) => oid is null || WeakSignatures.Contains(oid);

    /// <summary>A trust anchor's own signature proves nothing, so it is judged by its key alone when <paramref name="isAnchor"/>.</summary>
    public static string? Problem(X509Certificate2 certificate, bool isAnchor = false)
    {
        if (!isAnchor && IsWeakSignature(certificate.SignatureAlgorithm.Value)) return $"signature algorithm {certificate.SignatureAlgorithm.FriendlyName} is too weak";
        return KeyProblem(certificate.PublicKey);
    }

    public static string? KeyProblem(PublicKey key)
    {
        if (key.Oid.Value != RsaOid) return null;
        using var rsa = key.GetRSAPublicKey();
        return rsa is null or { KeySize: < MinRsaBits } ? $"RSA key of {rsa?.KeySize ?? 0} bits; at least {MinRsaBits} are needed" : null;
    }
}
