using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Model;

namespace AmbientMesh.Identity;

/// <summary>Whom a peer may be.</summary>
public abstract record PeerExpectation
{
    private PeerExpectation() { }

    /// <summary>Anyone of the trust domain: what a server asks of its clients (reference 3.1).</summary>
    public sealed record TrustDomainMember(string TrustDomain) : PeerExpectation;

    /// <summary>One of these identities: what a client asks of the server it dials. An empty list accepts nobody.</summary>
    public sealed record OneOf(IReadOnlyList<SpiffeId> Identities) : PeerExpectation;
}

/// <summary>What a peer's certificate proved. Exactly one case holds.</summary>
public abstract record SvidVerdict
{
    private SvidVerdict() { }

    /// <summary>The peer is <paramref name="Identity"/>.</summary>
    public sealed record Accepted(SpiffeId Identity, DateTimeOffset NotAfter) : SvidVerdict
    {
        /// <summary>Leaf and intermediates, for judging a living connection when a newer revocation list comes.</summary>
        public IReadOnlyList<CertificateSerial> Path { get; init; } = [];
    }

    /// <summary>The peer is not whom it must be, or proves nothing.</summary>
    /// <param name="Reason">For the log; names no secret.</param>
    public sealed record Rejected(string Reason) : SvidVerdict
    {
        /// <summary>True when a revocation list decided; counted on its own.</summary>
        public bool IsRevoked { get; init; }
    }
}

/// <summary>Judges peers' certificates against one trust bundle. Immutable; make a new one when the bundle or the revocation list changes.</summary>
/// <remarks>
/// Built for a handshake per connection: a chain that has been proven is remembered by its bytes, so that the next connection of the same peer
/// costs a hash (2.5 µs) and not the proof (60 to 170 µs). Time and expectation are judged afresh every time.
/// </remarks>
/// <param name="revoked">Consulted for the whole path; null revokes nothing.</param>
public sealed class SvidVerifier(TrustBundle bundle, SvidRules rules, TimeProvider clock, RevocationList? revoked = null)
{
    private readonly RevocationList _revoked = revoked ?? RevocationList.None;
    private readonly ProvenChains _proven = new();

    public TrustBundle Bundle { get; } = bundle;

    /// <summary>Judges <paramref name="leaf"/> as sent together with <paramref name="sent"/> (intermediates; the leaf and roots among them do no harm).</summary>
    public SvidVerdict Verify(X509Certificate2? leaf, X509Certificate2Collection sent, PeerExpectation expectation)
    {
        if (leaf is null) return new SvidVerdict.Rejected("peer sent no certificate");
        try
        {
            return Weigh(leaf, sent, expectation);
        }
        catch (Exception problem) when (problem is CryptographicException or NotSupportedException or ArgumentException)
        {
            // The framework decodes extensions and keys when they are looked at; malformed ones throw only then.
            return new SvidVerdict.Rejected($"certificate cannot be read: {problem.Message}");
        }
    }

    /// <summary>Client side of <see cref="SslStream"/>: makes it ask this verifier and nothing else about the server's certificate.</summary>
    /// <param name="verdict">Told every verdict, so that the caller can name the peer or the reason; null when not needed.</param>
    public void Apply(SslClientAuthenticationOptions options, PeerExpectation expectation, Action<SvidVerdict>? verdict = null)
    {
        options.CertificateChainPolicy = UnjudgedPolicy();
        options.RemoteCertificateValidationCallback = Callback(expectation, verdict);
    }

    /// <summary>Server side of <see cref="SslStream"/>: a client certificate is required and judged by this verifier.</summary>
    /// <inheritdoc cref="Apply(SslClientAuthenticationOptions, PeerExpectation, Action{SvidVerdict}?)"/>
    public void Apply(SslServerAuthenticationOptions options, PeerExpectation expectation, Action<SvidVerdict>? verdict = null)
    {
        options.ClientCertificateRequired = true;
        options.CertificateChainPolicy = UnjudgedPolicy();
        options.RemoteCertificateValidationCallback = Callback(expectation, verdict);
    }

    /// <summary>The bare check, for who sets up <see cref="SslStream"/> otherwise; the framework's own verdict is not consulted.</summary>
    public RemoteCertificateValidationCallback Callback(PeerExpectation expectation, Action<SvidVerdict>? verdict = null) =>
        (_, certificate, chain, _) =>
        {
            var answer = Verify(certificate as X509Certificate2, chain?.ChainPolicy.ExtraStore ?? [], expectation);
            verdict?.Invoke(answer);
            return answer is SvidVerdict.Accepted;
        };

    /// <summary>SslStream always builds a chain before it asks; without roots and downloads that is cheap, and its verdict is ignored.</summary>
    private static X509ChainPolicy UnjudgedPolicy() => new()
    {
        TrustMode = X509ChainTrustMode.CustomRootTrust,
        RevocationMode = X509RevocationMode.NoCheck,
        DisableCertificateDownloads = true,
    };

    private SvidVerdict Weigh(X509Certificate2 leaf, X509Certificate2Collection sent, PeerExpectation expectation)
    {
        if (SizeProblem(leaf, sent) is { } tooLarge) return new SvidVerdict.Rejected(tooLarge);
        var key = ProvenChains.KeyOf(leaf, sent);
        if (!_proven.TryGet(key, out var proof))
        {
            proof = Prove(leaf, sent, out var rejection);
            if (proof is null) return rejection;
            _proven.Add(key, proof);
        }
        return Judge(proof, expectation);
    }

    private string? SizeProblem(X509Certificate2 leaf, X509Certificate2Collection sent)
    {
        var bytes = leaf.RawDataMemory.Length;
        foreach (var certificate in sent) bytes += certificate.RawDataMemory.Span.SequenceEqual(leaf.RawDataMemory.Span) ? 0 : certificate.RawDataMemory.Length;
        return bytes > rules.MaxChainBytes ? $"certificate chain of {bytes} bytes; at most {rules.MaxChainBytes} are allowed" : null;
    }

    private ProvenChain? Prove(X509Certificate2 leaf, X509Certificate2Collection sent, out SvidVerdict.Rejected rejection)
    {
        var identities = LeafRules.Read(leaf, rules, out var problem);
        rejection = new SvidVerdict.Rejected(problem ?? "");
        if (problem is not null) return null;
        using var chain = ChainBuilding.TryBuild(leaf, sent, Bundle, clock.GetUtcNow(), X509VerificationFlags.NoFlag, out var unproven, out var isTime);
        if (chain is null) rejection = new SvidVerdict.Rejected($"certificate does not chain to the trust bundle: {unproven}{(isTime ? ClockHint(leaf) : "")}");
        else if (PathProblem(chain) is { } wrong) rejection = new SvidVerdict.Rejected(wrong);
        else if (RevocationProblem(chain) is { } revocation) rejection = new SvidVerdict.Rejected(revocation) { IsRevoked = true };
        else return new ProvenChain(identities, Latest(chain), Earliest(chain), [.. chain.ChainElements.Take(chain.ChainElements.Count - 1).Select(element => CertificateSerial.Of(element.Certificate))]);
        return null;
    }

    // Time is the one reason whose cause may be here: the reader is shown both ends of the comparison.
    private string ClockHint(X509Certificate2 leaf) =>
        $"; the leaf is valid from {leaf.NotBefore.ToUniversalTime():u} to {leaf.NotAfter.ToUniversalTime():u} and the clock here says {clock.GetUtcNow():u}";

    private string? RevocationProblem(X509Chain chain)
    {
        for (var i = 0; i < chain.ChainElements.Count - 1; i++)
            if (_revoked.Problem(chain.ChainElements[i].Certificate, chain.ChainElements[i + 1].Certificate, Bundle.Namesakes) is { } problem) return problem;
        return null;
    }

    private string? PathProblem(X509Chain chain)
    {
        var elements = chain.ChainElements;
        if (elements.Count > rules.MaxDepth) return $"certificate path of {elements.Count}; at most {rules.MaxDepth} are allowed";
        for (var i = 1; i < elements.Count - 1; i++)
            if (SignerRules.Problem(elements[i].Certificate) is { } problem) return problem;
        return KeyStrength.Problem(elements[^1].Certificate, isAnchor: true);
    }

    private SvidVerdict Judge(ProvenChain proof, PeerExpectation expectation)
    {
        var now = clock.GetUtcNow();
        if (now < proof.NotBefore) return new SvidVerdict.Rejected($"certificate is not valid before {proof.NotBefore:u}; the clock here says {now:u}");
        if (now > proof.NotAfter) return new SvidVerdict.Rejected($"certificate expired at {proof.NotAfter:u}; the clock here says {now:u}");
        foreach (var identity in proof.Identities)
            if (Admits(expectation, identity)) return new SvidVerdict.Accepted(rules.AllowSeveralUris && expectation is PeerExpectation.TrustDomainMember ? proof.Identities[0] : identity, proof.NotAfter) { Path = proof.Path };
        return new SvidVerdict.Rejected($"peer is {string.Join(", ", proof.Identities)}, {Expected(expectation)}");
    }

    private static bool Admits(PeerExpectation expectation, SpiffeId identity) => expectation switch
    {
        PeerExpectation.TrustDomainMember member => identity.TrustDomain == member.TrustDomain,
        PeerExpectation.OneOf one => one.Identities.Contains(identity),
        _ => false,
    };

    private static string Expected(PeerExpectation expectation) => expectation switch
    {
        PeerExpectation.TrustDomainMember member => $"not of trust domain {member.TrustDomain}",
        PeerExpectation.OneOf one => $"expected one of [{string.Join(", ", one.Identities)}]",
        _ => "",
    };

    private static DateTimeOffset Latest(X509Chain chain) => chain.ChainElements.Max(element => new DateTimeOffset(element.Certificate.NotBefore.ToUniversalTime()));
    private static DateTimeOffset Earliest(X509Chain chain) => chain.ChainElements.Min(element => new DateTimeOffset(element.Certificate.NotAfter.ToUniversalTime()));
}
