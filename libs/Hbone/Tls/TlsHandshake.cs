using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;

namespace AmbientMesh.Hbone;

/// <summary>The handshake did not come about; the message is what logs show.</summary>
public sealed class TlsHandshakeException(string message, Exception? inner = null) : IOException(message, inner);

/// <summary>Mutual TLS 1.3 for HBONE, both ends (L4 contracts §3.1): ALPN h2, no SNI, no resumption, chains only to the given roots, no revocation
/// look-ups, then the identity check.</summary>
public static class TlsHandshake
{
    private static readonly List<SslApplicationProtocol> Alpn = [SslApplicationProtocol.Http2];

#pragma warning disable CA1416 // the suites can be chosen on Linux, which is where this runs
    private static readonly CipherSuitesPolicy Suites = new([TlsCipherSuite.TLS_AES_256_GCM_SHA384, TlsCipherSuite.TLS_AES_128_GCM_SHA256]);
#pragma warning restore CA1416

    /// <summary>Client end. Owns <paramref name="transport"/> from the call on, also when it fails.</summary>
    /// <exception cref="TlsHandshakeException">The peer is not who it must be, or does not speak TLS 1.3 with h2.</exception>
    public static async Task<TlsTransport> ConnectAsync(ITransport transport, TlsCredentials own, PeerCheck check, CancellationToken cancellationToken = default)
    {
        var verdict = new Verdict(own.Roots, check, asServer: false);
        var options = new SslClientAuthenticationOptions
        {
            TargetHost = "",   // no SNI
            ClientCertificateContext = own.Context,
            EnabledSslProtocols = SslProtocols.Tls13,
            CipherSuitesPolicy = Suites,
            ApplicationProtocols = Alpn,
            AllowTlsResume = false,
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
            CertificateChainPolicy = verdict.ChainPolicy,
            RemoteCertificateValidationCallback = verdict.Judge,
        };
        return await RunAsync(transport, verdict, tls => tls.AuthenticateAsClientAsync(options, cancellationToken), requireAlpn: true, cancellationToken);
    }

    /// <summary>Server end. A client without ALPN is served, one with another protocol is not. Owns <paramref name="transport"/>, also when it fails.</summary>
    /// <exception cref="TlsHandshakeException">The client showed no acceptable certificate, or does not speak TLS 1.3.</exception>
    public static async Task<TlsTransport> AcceptAsync(ITransport transport, TlsCredentials own, PeerCheck check, CancellationToken cancellationToken = default)
    {
        var verdict = new Verdict(own.Roots, check, asServer: true);
        var options = new SslServerAuthenticationOptions
        {
            ServerCertificateContext = own.Context,
            ClientCertificateRequired = true,
            EnabledSslProtocols = SslProtocols.Tls13,
            CipherSuitesPolicy = Suites,
            ApplicationProtocols = Alpn,
            AllowTlsResume = false,
            AllowRenegotiation = false,
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
            CertificateChainPolicy = verdict.ChainPolicy,
            RemoteCertificateValidationCallback = verdict.Judge,
        };
        return await RunAsync(transport, verdict, tls => tls.AuthenticateAsServerAsync(options, cancellationToken), requireAlpn: false, cancellationToken);
    }

    private static async Task<TlsTransport> RunAsync(
        ITransport transport, Verdict verdict, Func<SslStream, Task> handshake, bool requireAlpn, CancellationToken cancellationToken)
    {
        var records = new RecordStream(transport);
        var tls = new SslStream(records, leaveInnerStreamOpen: true);
        try
        {
            await handshake(tls);
            if (verdict.Peer is not { } peer) throw new TlsHandshakeException("the peer presented no certificate");
            if (tls.NegotiatedApplicationProtocol != SslApplicationProtocol.Http2 && (requireAlpn || !tls.NegotiatedApplicationProtocol.Protocol.IsEmpty))
                throw new TlsHandshakeException("the peer did not agree on ALPN h2");
            await records.FlushAsync(cancellationToken);
            return new TlsTransport(transport, records, tls, peer);
        }
        catch (Exception e) when (e is AuthenticationException or IOException or InvalidOperationException)
        {
            await AbandonAsync(transport, records, tls);
            throw e as TlsHandshakeException ?? new TlsHandshakeException(verdict.Refusal is { } refusal ? $"invalid peer certificate: {refusal}" : Innermost(e), e);
        }
        catch (OperationCanceledException)
        {
            transport.Abort();
            await AbandonAsync(transport, records, tls);
            throw;
        }
    }

    /// <summary>Sends the alert that is still buffered, if the peer listens, and closes.</summary>
    private static async Task AbandonAsync(ITransport transport, RecordStream records, SslStream tls)
    {
        try
        {
            await records.FlushAsync(CancellationToken.None);
            await transport.ShutdownWriteAsync();
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or InvalidOperationException)
        {
            // Nobody is left to be told.
        }
        await tls.DisposeAsync();
        await transport.DisposeAsync();
    }

    private static string Innermost(Exception e) => e.InnerException is { } inner ? $"{e.Message} {Innermost(inner)}" : e.Message;

    /// <summary>One handshake's verification: policy for the chain, then the identity.</summary>
    private sealed class Verdict(X509Certificate2Collection roots, PeerCheck check, bool asServer)
    {
        private static readonly System.Security.Cryptography.Oid ServerAuth = new("1.3.6.1.5.5.7.3.1");
        private static readonly System.Security.Cryptography.Oid ClientAuth = new("1.3.6.1.5.5.7.3.2");

        public TlsPeer? Peer { get; private set; }
        public string? Refusal { get; private set; }

        public X509ChainPolicy ChainPolicy { get; } = Policy(roots, asServer);

        public bool Judge(object sender, X509Certificate? certificate, X509Chain? chain, SslPolicyErrors errors)
        {
            Refusal = Refuse(certificate as X509Certificate2, chain, errors);
            return Refusal is null;
        }

        private string? Refuse(X509Certificate2? leaf, X509Chain? chain, SslPolicyErrors errors)
        {
            if (leaf is null || chain is null) return "no certificate presented";
            if ((errors & SslPolicyErrors.RemoteCertificateChainErrors) != 0)
                return string.Join("; ", chain.ChainStatus.Select(s => s.StatusInformation.Trim()).Distinct());
            // Names (DNS) are never consulted: RemoteCertificateNameMismatch says nothing here.
            if (check(leaf, out var identity) is { } refusal) return refusal;
            Peer = new TlsPeer(identity, [.. chain.ChainElements.Select(e => X509CertificateLoader.LoadCertificate(e.Certificate.RawDataMemory.Span))]);
            return null;
        }

        private static X509ChainPolicy Policy(X509Certificate2Collection roots, bool asServer)
        {
            var policy = new X509ChainPolicy
            {
                TrustMode = X509ChainTrustMode.CustomRootTrust,
                RevocationMode = X509RevocationMode.NoCheck,
                DisableCertificateDownloads = true,
                VerificationTimeIgnored = true,
            };
            policy.CustomTrustStore.AddRange(roots);
            policy.ApplicationPolicy.Add(asServer ? ClientAuth : ServerAuth);
            return policy;
        }
    }
}
