using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace AmbientMesh.Identity;

/// <summary>The CA's private key, RSA or elliptic curve, behind what signing needs of it.</summary>
internal sealed class CaKey
{
    private readonly RSA? _rsa;
    private readonly ECDsa? _ec;

    private CaKey(RSA? rsa, ECDsa? ec)
    {
        _rsa = rsa;
        _ec = ec;
        Generator = rsa is not null ? X509SignatureGenerator.CreateForRSA(rsa, RSASignaturePadding.Pkcs1) : X509SignatureGenerator.CreateForECDsa(ec!);
    }

    /// <summary>Safe for concurrent use: each signature takes its own context of the key.</summary>
    public X509SignatureGenerator Generator { get; }

    public static CaKey NewRsa(int bits) => new(RSA.Create(bits), null);

    /// <summary>Reads PKCS#1, SEC1 or PKCS#8.</summary>
    /// <exception cref="FormatException">Not a PEM private key of either kind.</exception>
    public static CaKey Parse(string pem)
    {
        try
        {
            if (pem.Contains("BEGIN EC PRIVATE KEY", StringComparison.Ordinal)) return new CaKey(null, Import(ECDsa.Create(), pem));
            if (pem.Contains("BEGIN RSA PRIVATE KEY", StringComparison.Ordinal)) return new CaKey(Import(RSA.Create(), pem), null);
            return ParsePkcs8(pem);
        }
        catch (Exception problem) when (problem is ArgumentException or CryptographicException or PlatformNotSupportedException)   // the last for a curve that is not known
        {
            throw new FormatException("the CA key is not a PEM private key", problem);   // the message must not quote the key
        }
    }

    public bool Matches(X509Certificate2 certificate) =>
        certificate.PublicKey.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(_rsa?.ExportSubjectPublicKeyInfo() ?? _ec!.ExportSubjectPublicKeyInfo());

    public string ExportPem() => (_rsa?.ExportRSAPrivateKeyPem() ?? _ec!.ExportPkcs8PrivateKeyPem()) + "\n";

    private static CaKey ParsePkcs8(string pem)
    {
        try
        {
            return new CaKey(Import(RSA.Create(), pem), null);
        }
        catch (CryptographicException)
        {
            return new CaKey(null, Import(ECDsa.Create(), pem));   // PKCS#8 names the algorithm inside; it is not RSA
        }
    }

    private static T Import<T>(T key, string pem) where T : AsymmetricAlgorithm
    {
        key.ImportFromPem(pem);
        return key;
    }
}
