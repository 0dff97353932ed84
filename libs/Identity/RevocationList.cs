using System.Collections.Concurrent;
using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace AmbientMesh.Identity;

/// <summary>A certificate by what a revocation list calls it.</summary>
/// <param name="Issuer">The issuer's distinguished name, DER in hexadecimal.</param>
/// <param name="Serial">The serial number, hexadecimal without leading zero bytes.</param>
public readonly record struct CertificateSerial(string Issuer, string Serial)
{
    public static CertificateSerial Of(X509Certificate2 certificate) => new(Convert.ToHexString(certificate.IssuerName.RawData), Normal(certificate.SerialNumberBytes.Span));

    internal static string Normal(ReadOnlySpan<byte> serial) => Convert.ToHexString(serial.TrimStart((byte)0));
}

/// <summary>Revoked certificates of one or several issuers (reference 6.7). Immutable and safe for concurrent use.</summary>
/// <remarks>A certificate whose issuer has no list here counts as good: unknown status is allowed.</remarks>
public sealed class RevocationList
{
    private readonly IReadOnlyList<IssuerList> _lists;

    private RevocationList(IReadOnlyList<IssuerList> lists) => _lists = lists;

    /// <summary>Revokes nothing: no file, or an empty one.</summary>
    public static RevocationList None { get; } = new([]);

    /// <summary>Revoked certificates in all lists.</summary>
    public int Count => _lists.Sum(list => list.Serials.Count);

    /// <summary>Reads PEM, one or several <c>X509 CRL</c> blocks, or DER. Nothing but white space is <see cref="None"/>.</summary>
    /// <exception cref="FormatException">The content is something else, or a list has a critical extension that is not understood.</exception>
    public static RevocationList Parse(ReadOnlySpan<byte> content)
    {
        if (content.Trim(" \t\r\n"u8).IsEmpty) return None;
        if (content[0] == 0x30) return new RevocationList([IssuerList.Parse(content.ToArray(), 1)]);
        List<IssuerList> lists = [];
        var rest = Encoding.UTF8.GetString(content).AsSpan();
        while (PemEncoding.TryFind(rest, out var block))
        {
            if (rest[block.Label] is "X509 CRL") lists.Add(IssuerList.Parse(Convert.FromBase64String(rest[block.Base64Data].ToString()), lists.Count + 1));
            rest = rest[block.Location.End..];
        }
        return lists.Count > 0 ? new RevocationList(lists) : throw new FormatException("the revocation list is neither PEM with X509 CRL blocks nor DER");
    }

    /// <summary>Whether any of these is revoked, by name and number alone: for a connection whose path was proven before this list came.</summary>
    public bool Revokes(IEnumerable<CertificateSerial> path) => _lists.Count > 0 && path.Any(certificate => _lists.Any(list => list.Issuer == certificate.Issuer && list.Serials.Contains(certificate.Serial)));

    /// <summary>For who publishes lists: the names of issuers whose list none of <paramref name="known"/> of that name and key has signed, and of issuers that are not among them.</summary>
    public (IReadOnlyList<string> Wrong, IReadOnlyList<string> Unknown) Issuers(IReadOnlyList<X509Certificate2> known)
    {
        List<string> wrong = [], unknown = [];
        foreach (var list in _lists)
        {
            var candidates = known.Where(issuer => Named(issuer, list.Issuer) && list.MayBeOf(issuer)).ToList();
            if (candidates.Exists(list.IsSignedBy)) continue;
            (candidates.Count > 0 ? wrong : unknown).Add(new X500DistinguishedName(Convert.FromHexString(list.Issuer)).Name);
        }
        return (wrong, unknown);
    }

    /// <summary>Why <paramref name="certificate"/>, signed by <paramref name="issuer"/>, must not be accepted; null when nothing is known against it.</summary>
    /// <param name="namesakes">Trusted roots that share a name: a list of one of them says nothing about what another signed.</param>
    internal string? Problem(X509Certificate2 certificate, X509Certificate2 issuer, IReadOnlyList<X509Certificate2> namesakes)
    {
        if (_lists.Count == 0) return null;
        var (name, serial) = CertificateSerial.Of(certificate);
        foreach (var list in _lists)
        {
            if (list.Issuer != name || !list.MayBeOf(issuer)) continue;
            // A list that names this issuer and cannot be proven hides something, or is broken: either way nobody of this issuer is known to be good.
            if (!list.IsSignedBy(issuer) && namesakes.Any(other => Named(other, name) && list.IsSignedBy(other))) continue;
            if (!list.IsSignedBy(issuer)) return $"the revocation list of {issuer.Subject} has a wrong signature";
            if (list.Serials.Contains(serial)) return $"certificate {serial} of {issuer.Subject} is revoked";
        }
        return null;
    }

    private static bool Named(X509Certificate2 certificate, string subject) => Convert.ToHexString(certificate.SubjectName.RawData) == subject;

    /// <summary>One signed list. RFC 5280 §5.1.</summary>
    private sealed class IssuerList
    {
        private const string AuthorityKeyIdentifier = "2.5.29.35", CrlNumber = "2.5.29.20";
        private readonly byte[] _signed;
        private readonly byte[] _signature;
        private readonly string _algorithm;
        private readonly string? _keyId;
        private readonly ConcurrentDictionary<string, bool> _verdicts = new(StringComparer.Ordinal);

        private IssuerList(string issuer, HashSet<string> serials, string? keyId, byte[] signed, string algorithm, byte[] signature)
        {
            (Issuer, Serials, _keyId) = (issuer, serials, keyId);
            (_signed, _algorithm, _signature) = (signed, algorithm, signature);
        }

        public string Issuer { get; }
        public IReadOnlySet<string> Serials { get; }

        /// <summary>False when list and issuer name different keys: two issuers may share a name.</summary>
        public bool MayBeOf(X509Certificate2 issuer) =>
            _keyId is null || issuer.Extensions.OfType<X509SubjectKeyIdentifierExtension>().FirstOrDefault()?.SubjectKeyIdentifier is not { } own || own == _keyId;

        public bool IsSignedBy(X509Certificate2 issuer) => _verdicts.GetOrAdd(issuer.Thumbprint, static (_, pair) => pair.List.Verify(pair.Issuer.PublicKey), (List: this, Issuer: issuer));

        public static IssuerList Parse(byte[] der, int number)
        {
            try
            {
                var outer = new AsnReader(der, AsnEncodingRules.DER);
                var certificateList = outer.ReadSequence();
                outer.ThrowIfNotEmpty();
                var signed = certificateList.PeekEncodedValue().ToArray();
                var body = certificateList.ReadSequence();
                var algorithm = certificateList.ReadSequence().ReadObjectIdentifier();
                var signature = certificateList.ReadBitString(out _);
                if (body.PeekTag().HasSameClassAndValue(Asn1Tag.Integer)) body.ReadInteger();
                body.ReadSequence();   // the algorithm again
                var issuer = Convert.ToHexString(body.ReadEncodedValue().Span);
                while (body.HasData && body.PeekTag().TagClass == TagClass.Universal && body.PeekTag().TagValue is (int)UniversalTagNumber.UtcTime or (int)UniversalTagNumber.GeneralizedTime) body.ReadEncodedValue();
                var serials = body.HasData && body.PeekTag().HasSameClassAndValue(Asn1Tag.Sequence) ? Revoked(body.ReadSequence()) : [];
                return new IssuerList(issuer, serials, body.HasData ? KeyId(body.ReadSequence(new Asn1Tag(TagClass.ContextSpecific, 0))) : null, signed, algorithm, signature);
            }
            catch (Exception problem) when (problem is AsnContentException or CryptographicException)
            {
                throw new FormatException($"revocation list {number} cannot be decoded: {problem.Message}", problem);
            }
        }

        private static HashSet<string> Revoked(AsnReader entries)
        {
            HashSet<string> serials = new(StringComparer.Ordinal);
            while (entries.HasData) serials.Add(CertificateSerial.Normal(entries.ReadSequence().ReadIntegerBytes().Span));
            return serials;
        }

        private static string? KeyId(AsnReader wrapper)
        {
            string? keyId = null;
            for (var extensions = wrapper.ReadSequence(); extensions.HasData;)
            {
                var extension = extensions.ReadSequence();
                var oid = extension.ReadObjectIdentifier();
                var critical = extension.PeekTag().HasSameClassAndValue(Asn1Tag.Boolean) && extension.ReadBoolean();
                if (oid == AuthorityKeyIdentifier) keyId = new X509AuthorityKeyIdentifierExtension(extension.ReadOctetString(), critical).KeyIdentifier is { } id ? Convert.ToHexString(id.Span) : null;
                else if (critical && oid != CrlNumber) throw new FormatException($"the revocation list has critical extension {oid}, which is not understood");
            }
            return keyId;
        }

        private bool Verify(PublicKey key)
        {
            if (Hash() is not { } hash) return false;
            using var rsa = key.GetRSAPublicKey();
            if (rsa is not null) return rsa.VerifyData(_signed, _signature, hash, RSASignaturePadding.Pkcs1);
            using var ec = key.GetECDsaPublicKey();
            return ec is not null && ec.VerifyData(_signed, _signature, hash, DSASignatureFormat.Rfc3279DerSequence);
        }

        private HashAlgorithmName? Hash() => _algorithm switch
        {
            "1.2.840.113549.1.1.11" or "1.2.840.10045.4.3.2" => HashAlgorithmName.SHA256,
            "1.2.840.113549.1.1.12" or "1.2.840.10045.4.3.3" => HashAlgorithmName.SHA384,
            "1.2.840.113549.1.1.13" or "1.2.840.10045.4.3.4" => HashAlgorithmName.SHA512,
            _ => null,
        };
    }
}
