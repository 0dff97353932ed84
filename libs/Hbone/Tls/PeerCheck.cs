using System.Formats.Asn1;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Model;

namespace AmbientMesh.Hbone;

/// <summary>Judges a peer whose chain was already built to one of our roots: null and the identity when it may connect, otherwise the reason.</summary>
public delegate string? PeerCheck(X509Certificate2 leaf, out SpiffeId identity);

/// <summary>The identity rules of both ends (L4 contracts §3.1). Strict: a leaf with more than one URI SAN is refused.</summary>
public static class PeerChecks
{
    private const string SubjectAlternativeName = "2.5.29.17";

    /// <summary>Client to server: the identity must be one of <paramref name="expected"/>; an empty set refuses everyone.</summary>
    public static PeerCheck OneOf(IReadOnlyCollection<SpiffeId> expected) => (X509Certificate2 leaf, out SpiffeId identity) =>
        ReadIdentity(leaf, out identity)
        ?? (expected.Contains(identity) ? null : $"identity verification error: peer did not present the expected SAN ({string.Join(", ", expected)}), got {identity}");

    /// <summary>Server to client: the identity must belong to the server's own trust domain.</summary>
    public static PeerCheck SameTrustDomain(string trustDomain) => (X509Certificate2 leaf, out SpiffeId identity) =>
        ReadIdentity(leaf, out identity)
        ?? (identity.TrustDomain == trustDomain ? null : $"identity verification error: trust domain of {identity} is not {trustDomain}");

    /// <summary>The one SPIFFE identity of a leaf; otherwise why there is none.</summary>
    public static string? ReadIdentity(X509Certificate2 leaf, out SpiffeId identity)
    {
        identity = default;
        var extension = leaf.Extensions.FirstOrDefault(e => e.Oid?.Value == SubjectAlternativeName);
        if (extension is null) return "certificate has no subject alternative name";
        try
        {
            var uris = new List<string>();
            var names = new AsnReader(extension.RawData, AsnEncodingRules.DER).ReadSequence();
            var uriTag = new Asn1Tag(TagClass.ContextSpecific, 6);
            while (names.HasData)
            {
                if (names.PeekTag().HasSameClassAndValue(uriTag)) uris.Add(names.ReadCharacterString(UniversalTagNumber.IA5String, uriTag));
                else names.ReadEncodedValue();
            }
            if (uris.Count != 1) return $"certificate has {uris.Count} URI names; exactly one is allowed";
            return SpiffeId.TryParse(uris[0], out identity, out var reason) ? null : reason;
        }
        catch (AsnContentException e)
        {
            return $"subject alternative name cannot be read: {e.Message}";
        }
    }
}
