using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace AmbientMesh.Identity;

/// <summary>Reading and writing PEM text (RFC 7468) as the CA protocol and the mounted files use it.</summary>
public static class PemBlocks
{
    /// <summary>Every certificate of <paramref name="pem"/> in order; other blocks and text between them are skipped.</summary>
    /// <exception cref="FormatException">A certificate block does not hold a certificate; the message names which one.</exception>
    public static List<X509Certificate2> Certificates(string pem)
    {
        List<X509Certificate2> found = [];
        var rest = pem.AsSpan();
        while (PemEncoding.TryFind(rest, out var block))
        {
            if (rest[block.Label] is "CERTIFICATE") found.Add(Certificate(rest, block, found.Count + 1));
            rest = rest[block.Location.End..];
        }
        return found;
    }

    /// <summary>PEM of one certificate, ending with one newline.</summary>
    public static string Encode(X509Certificate2 certificate) => PemEncoding.WriteString("CERTIFICATE", certificate.RawDataMemory.Span) + "\n";

    /// <summary>PEM of several certificates one after the other, ending with one newline.</summary>
    public static string Encode(IEnumerable<X509Certificate2> certificates) => string.Concat(certificates.Select(Encode));

    private static X509Certificate2 Certificate(ReadOnlySpan<char> pem, PemFields block, int number)
    {
        var bytes = new byte[block.DecodedDataLength];
        if (!Convert.TryFromBase64Chars(pem[block.Base64Data], bytes, out var written)) throw new FormatException($"certificate {number} in the PEM text is not base64");
        try
        {
            return X509CertificateLoader.LoadCertificate(bytes.AsSpan(0, written));
        }
        catch (CryptographicException problem)
        {
            throw new FormatException($"certificate {number} in the PEM text cannot be read: {problem.Message}", problem);
        }
    }
}
