using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Model;

namespace AmbientMesh.Identity;

/// <summary>How long certificates live (reference 6.5).</summary>
public sealed record IssuancePolicy
{
    /// <summary>Used when the request names no lifetime, or a negative one.</summary>
    public TimeSpan DefaultLifetime { get; init; } = TimeSpan.FromHours(24);

    /// <summary>A longer wish is refused with <see cref="IssuanceError.Lifetime"/>.</summary>
    public TimeSpan MaxLifetime { get; init; } = TimeSpan.FromDays(90);

    /// <summary>Certificates begin this long before now, for clocks that lag.</summary>
    public TimeSpan BackDating { get; init; } = TimeSpan.FromMinutes(2);
}

/// <summary>Why no certificate was issued. The first two are the caller's fault (INVALID_ARGUMENT), the others ours (INTERNAL).</summary>
public enum IssuanceError
{
    /// <summary>CSR_ERROR</summary>
    SigningRequest,

    /// <summary>TTL_ERROR</summary>
    Lifetime,

    /// <summary>CA_NOT_READY: the signing certificate is not valid now.</summary>
    NotReady,

    /// <summary>CERT_GEN_ERROR</summary>
    Generation,
}

/// <summary>What became of a request. Exactly one case holds.</summary>
public abstract record IssuanceOutcome
{
    private IssuanceOutcome() { }

    /// <summary>A certificate was issued.</summary>
    /// <param name="CertificateChain">The form of <c>cert_chain</c>: leaf, each intermediate, root bundle; all but the last end with an extra newline.</param>
    public sealed record Issued(X509Certificate2 Leaf, IReadOnlyList<string> CertificateChain) : IssuanceOutcome;

    public sealed record Refused(IssuanceError Error, string Reason) : IssuanceOutcome;
}

/// <summary>Signs SVIDs and the control plane's own server certificate: with a self-signed root, or a plugged-in intermediate below a given root.</summary>
/// <remarks>Immutable and safe for concurrent use; a rotated CA is a new object.</remarks>
public sealed class CertificateAuthority
{
    /// <summary>Life of a self-signed root (reference 6.6).</summary>
    public static readonly TimeSpan SelfSignedLifetime = TimeSpan.FromDays(3650);

    private readonly CaKey _key;
    private readonly TimeProvider _clock;
    private readonly IReadOnlyList<string> _chainTail;

    internal CertificateAuthority(CaKey key, X509Certificate2 certificate, IReadOnlyList<X509Certificate2> intermediates, TrustBundle roots, TimeProvider clock)
    {
        _key = key;
        _clock = clock;
        Certificate = certificate;
        Intermediates = intermediates;
        Roots = roots;
        _chainTail = [.. intermediates.Select(PemBlocks.Encode).Select(pem => pem + "\n"), roots.Pem];
    }

    public IssuancePolicy Policy { get; init; } = new();

    /// <summary>The signing certificate; itself the root when self-signed.</summary>
    public X509Certificate2 Certificate { get; }

    /// <summary>What a peer needs between a leaf and the root; begins with the signing certificate unless that is a root.</summary>
    public IReadOnlyList<X509Certificate2> Intermediates { get; }

    public TrustBundle Roots { get; }
    public string CertificatePem => PemBlocks.Encode(Certificate);

    /// <summary>PKCS#8, or PKCS#1 for RSA as istiod stores it. Secret: goes nowhere but the CA's own Secret.</summary>
    public string ExportPrivateKeyPem() => _key.ExportPem();

    /// <summary>A new RSA root for <paramref name="trustDomain"/> (its organisation).</summary>
    /// <param name="keyBits">CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE</param>
    /// <param name="lifetime">CITADEL_SELF_SIGNED_CA_CERT_TTL; null takes <see cref="SelfSignedLifetime"/>.</param>
    public static CertificateAuthority CreateSelfSigned(string trustDomain, TimeProvider clock, IssuancePolicy? policy = null, int keyBits = 2048, TimeSpan? lifetime = null) =>
        CaMaterial.CreateSelfSigned(trustDomain, clock, lifetime ?? SelfSignedLifetime, policy ?? new(), keyBits);

    /// <summary>Loads the files of a plugged-in CA, or a stored self-signed one, from their PEM texts.</summary>
    /// <param name="certificatePem"><c>ca-cert.pem</c></param>
    /// <param name="keyPem"><c>ca-key.pem</c>, RSA or EC</param>
    /// <param name="chainPem"><c>cert-chain.pem</c>: from the signing certificate towards the root; may be empty when that is the root</param>
    /// <param name="rootPem"><c>root-cert.pem</c>, one or several; empty means the signing certificate itself</param>
    /// <exception cref="FormatException">A text cannot be read, key and certificate differ, the certificate may not sign, or does not chain to a root.</exception>
    public static CertificateAuthority Load(string certificatePem, string keyPem, string chainPem, string rootPem, TimeProvider clock, IssuancePolicy? policy = null) =>
        CaMaterial.Load(certificatePem, keyPem, chainPem, rootPem, clock, policy ?? new());

    /// <summary>Issues for <paramref name="id"/>, whatever names the CSR asks for.</summary>
    /// <param name="lifetime">Zero or less asks for the default.</param>
    public IssuanceOutcome Issue(string csrPem, SpiffeId id, TimeSpan lifetime)
    {
        if (!SigningRequest.TryParse(csrPem, out var request, out var reason)) return new IssuanceOutcome.Refused(IssuanceError.SigningRequest, reason);
        return Issue(request, id, lifetime);
    }

    /// <inheritdoc cref="Issue(string, SpiffeId, TimeSpan)"/>
    public IssuanceOutcome Issue(SigningRequest request, SpiffeId id, TimeSpan lifetime)
    {
        if (lifetime > Policy.MaxLifetime) return new IssuanceOutcome.Refused(IssuanceError.Lifetime, $"requested lifetime {lifetime} is greater than the allowed {Policy.MaxLifetime}");
        if (!IsValidNow(out var reason)) return new IssuanceOutcome.Refused(IssuanceError.NotReady, reason);
        try
        {
            var template = LeafTemplate.ForWorkload(request.PublicKey, id, withCommonName: request.CommonName is not null, Certificate);
            var leaf = Sign(template, lifetime <= TimeSpan.Zero ? Policy.DefaultLifetime : lifetime);
            return new IssuanceOutcome.Issued(leaf, [PemBlocks.Encode(leaf) + "\n", .. _chainTail]);
        }
        catch (CryptographicException problem)
        {
            return new IssuanceOutcome.Refused(IssuanceError.Generation, problem.Message);
        }
    }

    /// <summary>An SVID with a fresh key, for a party that holds the CA: tests, and the control plane itself.</summary>
    /// <exception cref="InvalidOperationException">The CA cannot issue now.</exception>
    public Svid IssueSvid(SpiffeId id, TimeSpan lifetime = default)
    {
        using var key = CsrBuilder.NewKey();
        return Issue(CsrBuilder.Build(id, key), id, lifetime) switch
        {
            IssuanceOutcome.Issued issued => Svid.FromCertificateChain(issued.CertificateChain, key, id),
            IssuanceOutcome.Refused refused => throw new InvalidOperationException($"no SVID for {id}: {refused.Reason}"),
            _ => throw new System.Diagnostics.UnreachableException(),
        };
    }

    /// <summary>The control plane's TLS server certificate (reference 6.6): P-256, DNS and IP names, signed by this CA for <paramref name="lifetime"/> at most.</summary>
    public SslStreamCertificateContext IssueServerCertificate(IReadOnlyList<string> dnsNames, IReadOnlyList<IPAddress> addresses, TimeSpan lifetime)
    {
        using var key = CsrBuilder.NewKey();
        using var bare = Sign(LeafTemplate.ForServer(new PublicKey(key), dnsNames, addresses, Certificate), lifetime);
        return SslStreamCertificateContext.Create(bare.CopyWithPrivateKey(key), [.. Intermediates], offline: true);
    }

    private X509Certificate2 Sign(CertificateRequest template, TimeSpan lifetime)
    {
        var now = _clock.GetUtcNow();
        var notAfter = now + lifetime;
        var limit = new DateTimeOffset(Certificate.NotAfter.ToUniversalTime());
        var serial = RandomNumberGenerator.GetBytes(16);
        serial[0] = (byte)((serial[0] & 0x7f) | 0x40);   // positive, and no leading zero byte
        return template.Create(Certificate.SubjectName, _key.Generator, now - Policy.BackDating, notAfter < limit ? notAfter : limit, serial);
    }

    private bool IsValidNow(out string reason)
    {
        var now = _clock.GetUtcNow();
        reason = $"the signing certificate is valid from {Certificate.NotBefore.ToUniversalTime():u} to {Certificate.NotAfter.ToUniversalTime():u}";
        return now >= Certificate.NotBefore.ToUniversalTime() && now < Certificate.NotAfter.ToUniversalTime();
    }
}
