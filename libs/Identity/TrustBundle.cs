using System.Security.Cryptography.X509Certificates;

namespace AmbientMesh.Identity;

/// <summary>The roots of a trust domain: one or several, all equally trusted. Immutable; compared by content.</summary>
/// <remarks>The last element of a CA answer, and the <c>root-cert.pem</c> of the root ConfigMap, have this form.</remarks>
public sealed class TrustBundle : IEquatable<TrustBundle>
{
    private TrustBundle(IReadOnlyList<X509Certificate2> roots)
    {
        Roots = roots;
        Pem = PemBlocks.Encode(roots);
        Namesakes = [.. roots.GroupBy(root => Convert.ToHexString(root.SubjectName.RawData)).Where(group => group.Count() > 1).SelectMany(group => group)];
    }

    public IReadOnlyList<X509Certificate2> Roots { get; }

    /// <summary>Those that share their name with another one; a certificate may not say which of them signed it.</summary>
    internal IReadOnlyList<X509Certificate2> Namesakes { get; }

    /// <summary>The roots one after the other, normalised: no text between the blocks, one newline at the end.</summary>
    public string Pem { get; }

    /// <summary>Reads one or several PEM certificates.</summary>
    /// <exception cref="FormatException">No certificate, or one that cannot be read.</exception>
    public static TrustBundle Parse(string pem) => Of(PemBlocks.Certificates(pem));

    /// <summary>The given roots, repetitions dropped.</summary>
    /// <exception cref="FormatException">The list is empty.</exception>
    public static TrustBundle Of(IEnumerable<X509Certificate2> roots)
    {
        var distinct = roots.DistinctBy(root => root.Thumbprint).ToArray();
        if (distinct.Length == 0) throw new FormatException("the trust bundle holds no certificate");
        return new TrustBundle(distinct);
    }

    /// <summary>Both bundles' roots, this one's first; used while roots change over.</summary>
    public TrustBundle Union(TrustBundle other) => Of(Roots.Concat(other.Roots));

    public bool Equals(TrustBundle? other) => other is not null && other.Pem == Pem;
    public override bool Equals(object? obj) => Equals(obj as TrustBundle);
    public override int GetHashCode() => Pem.GetHashCode(StringComparison.Ordinal);
}
