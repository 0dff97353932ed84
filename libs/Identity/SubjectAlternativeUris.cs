using System.Formats.Asn1;
using System.Security.Cryptography.X509Certificates;

namespace AmbientMesh.Identity;

/// <summary>The URI names of a certificate's subject alternative name extension, byte for byte.</summary>
/// <remarks>
/// RFC 5280 §4.2.1.6: <c>GeneralNames ::= SEQUENCE OF GeneralName</c>, where <c>uniformResourceIdentifier [6] IA5String</c>.
/// The framework's own type exposes DNS names and addresses only.
/// </remarks>
internal static class SubjectAlternativeUris
{
    public const string Oid = "2.5.29.17";
    private static readonly Asn1Tag UriTag = new(TagClass.ContextSpecific, 6);

    /// <summary>False with a reason when the extension is malformed; an absent extension gives no URIs.</summary>
    public static bool TryRead(X509Certificate2 certificate, out List<string> uris, out bool critical, out string? reason)
    {
        uris = [];
        critical = false;
        reason = null;
        var seen = false;
        foreach (var extension in certificate.Extensions)
        {
            if (extension.Oid?.Value != Oid) continue;
            if (seen) return Fail("more than one subject alternative name extension", out reason);
            seen = true;
            critical = extension.Critical;
            if (!TryDecode(extension.RawData, uris)) return Fail("subject alternative name cannot be decoded", out reason);
        }
        return true;
    }

    /// <summary>A critical extension holding the one URI; what SPIFFE X509-SVID §4.1 asks of an empty subject.</summary>
    public static X509Extension Encode(string uri)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence()) writer.WriteCharacterString(UniversalTagNumber.IA5String, uri, UriTag);
        return new X509Extension(Oid, writer.Encode(), critical: true);
    }

    internal static bool TryDecode(byte[] extension, List<string> uris)
    {
        try
        {
            var reader = new AsnReader(extension, AsnEncodingRules.DER);
            var names = reader.ReadSequence();
            reader.ThrowIfNotEmpty();
            while (names.HasData)
            {
                if (names.PeekTag().HasSameClassAndValue(UriTag)) uris.Add(names.ReadCharacterString(UniversalTagNumber.IA5String, UriTag));
                else names.ReadEncodedValue();
            }
            return true;
        }
        catch (AsnContentException)
        {
            return false;
        }
    }

    private static bool Fail(string text, out string? reason)
    {
        reason = text;
        return false;
    }
}
