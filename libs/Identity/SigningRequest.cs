using System.Diagnostics.CodeAnalysis;
using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace AmbientMesh.Identity;

/// <summary>A received certificate signing request whose signature has been verified: the applicant holds <see cref="PublicKey"/>'s private half.</summary>
/// <remarks>The names it asks for are kept for diagnosis only; whom a certificate is for is decided by the caller's identity (reference 6.4).</remarks>
public sealed class SigningRequest
{
    /// <summary>A CSR of ours is about 0.4 KB; an RSA 8192 one about 3 KB.</summary>
    public const int MaxPemLength = 16 * 1024;

    private const string EcOid = "1.2.840.10045.2.1";
    private static readonly string?[] AllowedCurves = ["1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35"];   // P-256, P-384, P-521

    private SigningRequest(PublicKey publicKey, string? commonName, IReadOnlyList<string> requestedUris)
    {
        PublicKey = publicKey;
        CommonName = commonName;
        RequestedUris = requestedUris;
    }

    public PublicKey PublicKey { get; }

    /// <summary>The CN of the subject, null when it has none.</summary>
    public string? CommonName { get; }

    /// <summary>The URI names asked for; never what is granted.</summary>
    public IReadOnlyList<string> RequestedUris { get; }

    /// <summary>False with a reason that says what <paramref name="pem"/> is instead of a usable CSR.</summary>
    public static bool TryParse(string pem, [NotNullWhen(true)] out SigningRequest? request, [NotNullWhen(false)] out string? reason)
    {
        request = null;
        if (pem.Length > MaxPemLength) return Fail($"CSR of {pem.Length} characters; at most {MaxPemLength} are allowed", out reason);
        if (!PemEncoding.TryFind(pem, out var block)) return Fail("CSR is not PEM", out reason);
        var label = pem[block.Label];
        if (label is not ("CERTIFICATE REQUEST" or "NEW CERTIFICATE REQUEST")) return Fail($"PEM block is {label}, not CERTIFICATE REQUEST", out reason);
        return TryLoad(Convert.FromBase64String(pem[block.Base64Data]), out request, out reason);
    }

    private static bool TryLoad(byte[] der, [NotNullWhen(true)] out SigningRequest? request, [NotNullWhen(false)] out string? reason)
    {
        request = null;
        try
        {
            if (KeyStrength.IsWeakSignature(SignatureOid(der))) return Fail("CSR is signed with a weak algorithm", out reason);
            // The extensions are read for their names only; nothing of them enters the certificate.
            var loaded = CertificateRequest.LoadSigningRequest(der, HashAlgorithmName.SHA256, CertificateRequestLoadOptions.UnsafeLoadCertificateExtensions, RSASignaturePadding.Pkcs1);
            reason = KeyProblem(loaded.PublicKey);
            if (reason is not null) return false;
            request = new SigningRequest(loaded.PublicKey, CommonNameOf(loaded.SubjectName), UrisOf(loaded));
            return true;
        }
        catch (Exception problem) when (problem is CryptographicException or AsnContentException or NotSupportedException or ArgumentException)
        {
            return Fail($"CSR cannot be read or its signature is wrong: {problem.Message}", out reason);
        }
    }

    /// <summary><c>CertificationRequest ::= SEQUENCE { info SEQUENCE, algorithm SEQUENCE { OID … }, signature BIT STRING }</c> (RFC 2986 §4.2).</summary>
    private static string SignatureOid(byte[] der)
    {
        var request = new AsnReader(der, AsnEncodingRules.DER).ReadSequence();
        request.ReadEncodedValue();
        return request.ReadSequence().ReadObjectIdentifier();
    }

    private static string? KeyProblem(PublicKey key)
    {
        if (key.Oid.Value == KeyStrength.RsaOid) return KeyStrength.KeyProblem(key);
        if (key.Oid.Value != EcOid) return $"key algorithm {key.Oid.Value} is not supported";
        using var ec = key.GetECDsaPublicKey();
        var curve = ec?.ExportParameters(includePrivateParameters: false).Curve.Oid.Value;
        return AllowedCurves.Contains(curve) ? null : $"elliptic curve {curve ?? "given by parameters"} is not supported";
    }

    private static string? CommonNameOf(X500DistinguishedName subject)
    {
        foreach (var part in subject.EnumerateRelativeDistinguishedNames())
            if (!part.HasMultipleElements && part.GetSingleElementType().Value == "2.5.4.3") return part.GetSingleElementValue();
        return null;
    }

    private static List<string> UrisOf(CertificateRequest request)
    {
        List<string> uris = [];
        foreach (var extension in request.CertificateExtensions)
            if (extension.Oid?.Value == SubjectAlternativeUris.Oid) SubjectAlternativeUris.TryDecode(extension.RawData, uris);
        return uris;
    }

    private static bool Fail(string text, out string reason)
    {
        reason = text;
        return false;
    }
}
