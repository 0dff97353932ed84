using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Model;

namespace AmbientMesh.Identity;

/// <summary>A workload's certificate and key, what to send with it, and the roots it came with. Immutable, safe to share.</summary>
public sealed class Svid
{
    private Svid(SpiffeId id, X509Certificate2 leaf, IReadOnlyList<X509Certificate2> intermediates, TrustBundle roots)
    {
        Id = id;
        Leaf = leaf;
        Intermediates = intermediates;
        Roots = roots;
        NotBefore = new DateTimeOffset(leaf.NotBefore.ToUniversalTime());
        NotAfter = new DateTimeOffset(leaf.NotAfter.ToUniversalTime());
        CertificateContext = SslStreamCertificateContext.Create(leaf, [.. intermediates], offline: true);
    }

    public SpiffeId Id { get; }

    /// <summary>With its private key.</summary>
    public X509Certificate2 Leaf { get; }

    /// <summary>From the leaf's issuer towards the root, which is not among them.</summary>
    public IReadOnlyList<X509Certificate2> Intermediates { get; }

    public TrustBundle Roots { get; }
    public DateTimeOffset NotBefore { get; }
    public DateTimeOffset NotAfter { get; }

    /// <summary>Half of the lifetime: when a replacement is asked for (reference 6.2).</summary>
    public DateTimeOffset RenewAt => NotBefore + ((NotAfter - NotBefore) / 2);

    /// <summary>For both halves of <see cref="SslStream"/>; built once, without any look-up.</summary>
    public SslStreamCertificateContext CertificateContext { get; }

    /// <summary>Puts together the CA's answer (reference 6.2): element 0 the leaf, then intermediates, the root bundle last.</summary>
    /// <param name="key">The key the CSR was signed with; copied, so the caller keeps ownership.</param>
    /// <exception cref="FormatException">Fewer than two elements, bytes that are not certificates, a certificate that cannot be used, another key, or <c>did not find expected SAN</c>.</exception>
    public static Svid FromCertificateChain(IReadOnlyList<string> chain, ECDsa key, SpiffeId expected)
    {
        if (chain.Count < 2) throw new FormatException($"the CA answered with {chain.Count} certificates; at least a leaf and a root are needed");
        if (PemBlocks.Certificates(chain[0]) is not [var leaf, .. var more]) throw new FormatException("the first element of the CA's answer holds no certificate");
        var intermediates = more.Concat(chain.Skip(1).Take(chain.Count - 2).SelectMany(PemBlocks.Certificates)).ToArray();
        return Create(leaf, intermediates, TrustBundle.Parse(chain[^1]), key, expected);
    }

    /// <summary>Puts together certificates already parsed.</summary>
    /// <exception cref="FormatException">The leaf is not an SVID of <paramref name="expected"/>, cannot be used, or belongs to another key.</exception>
    public static Svid Create(X509Certificate2 leaf, IReadOnlyList<X509Certificate2> intermediates, TrustBundle roots, ECDsa key, SpiffeId expected)
    {
        var ids = Read(leaf, out var reason);
        if (reason is not null) throw new FormatException($"the CA's leaf is not an SVID: {reason}");
        if (!ids.Contains(expected)) throw new FormatException($"did not find expected SAN: {expected}; the leaf carries {string.Join(", ", ids)}");
        try
        {
            return new Svid(expected, WithKey(leaf, key), intermediates, roots);
        }
        catch (CryptographicException problem)
        {
            throw new FormatException($"the CA's leaf cannot be used: {problem.Message}", problem);   // e.g. a date or a public key that is none
        }
    }

    private static IReadOnlyList<SpiffeId> Read(X509Certificate2 leaf, out string? reason)
    {
        try
        {
            return LeafRules.Read(leaf, SvidRules.IstioLax, out reason);
        }
        catch (CryptographicException problem)
        {
            reason = problem.Message;   // an extension that cannot be decoded
            return [];
        }
    }

    private static X509Certificate2 WithKey(X509Certificate2 leaf, ECDsa key)
    {
        try
        {
            return leaf.CopyWithPrivateKey(key);
        }
        catch (ArgumentException problem)
        {
            throw new FormatException($"the CA's leaf is not for the key that was asked for: {problem.Message}", problem);
        }
    }
}
