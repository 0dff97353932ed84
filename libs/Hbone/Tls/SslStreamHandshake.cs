using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Identity;
using AmbientMesh.Model;

namespace AmbientMesh.Hbone;

/// <summary>Handshakes by the framework's TLS. It sends no alert when a certificate is refused, and makes a context per handshake.</summary>
internal static class SslStreamHandshake
{
    private static readonly List<SslApplicationProtocol> Alpn = [SslApplicationProtocol.Http2];

#pragma warning disable CA1416 // the suites can be chosen on Linux, which is where this runs
    private static readonly CipherSuitesPolicy Suites = new([TlsCipherSuite.TLS_AES_256_GCM_SHA384, TlsCipherSuite.TLS_AES_128_GCM_SHA256]);
#pragma warning restore CA1416

    /// <summary>Client end: the server must be one of <paramref name="expected"/>; an empty list accepts nobody. Owns <paramref name="transport"/> from
    /// the call on, also when it fails.</summary>
    /// <exception cref="TlsHandshakeException">The peer is not who it must be, or does not speak TLS 1.3 with h2.</exception>
    public static async Task<TlsTransport> ConnectAsync(
        ITransport transport, TlsCredentials own, IReadOnlyList<SpiffeId> expected, CancellationToken cancellationToken = default)
    {
        var verdict = new Verdict();
        var options = new SslClientAuthenticationOptions
        {
            TargetHost = "",   // no SNI
            ClientCertificateContext = own.Svid.CertificateContext,
            EnabledSslProtocols = SslProtocols.Tls13,
            CipherSuitesPolicy = Suites,
            ApplicationProtocols = Alpn,
            AllowTlsResume = false,
            AllowRenegotiation = false,
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        };
        own.Verifier.Apply(options, new PeerExpectation.OneOf(expected), verdict.Take);
        options.RemoteCertificateValidationCallback = verdict.Keeping(options.RemoteCertificateValidationCallback!);
        return await RunAsync(transport, verdict, tls => tls.AuthenticateAsClientAsync(options, cancellationToken), requireAlpn: true, cancellationToken);
    }

    /// <summary>Server end: the client must belong to our own trust domain. A client without ALPN is served, one with another protocol is not. Owns
    /// <paramref name="transport"/> from the call on, also when it fails.</summary>
    /// <exception cref="TlsHandshakeException">The client showed no acceptable certificate, or does not speak TLS 1.3.</exception>
    public static async Task<TlsTransport> AcceptAsync(ITransport transport, TlsCredentials own, CancellationToken cancellationToken = default)
    {
        var verdict = new Verdict();
        var options = new SslServerAuthenticationOptions
        {
            ServerCertificateContext = own.Svid.CertificateContext,
            EnabledSslProtocols = SslProtocols.Tls13,
            CipherSuitesPolicy = Suites,
            ApplicationProtocols = Alpn,
            AllowTlsResume = false,
            AllowRenegotiation = false,
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        };
        own.Verifier.Apply(options, new PeerExpectation.TrustDomainMember(own.Identity.TrustDomain), verdict.Take);
        options.RemoteCertificateValidationCallback = verdict.Keeping(options.RemoteCertificateValidationCallback!);
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
            if (verdict.Peer is not { } peer) throw new TlsHandshakeException("peer sent no certificate", peerRefused: true);
            if (tls.NegotiatedApplicationProtocol != SslApplicationProtocol.Http2 && (requireAlpn || !tls.NegotiatedApplicationProtocol.Protocol.IsEmpty))
                throw new TlsHandshakeException("the peer did not agree on ALPN h2");
            return new SslStreamTransport(transport, records, tls, peer);
        }
        catch (Exception e) when (e is AuthenticationException or IOException or InvalidOperationException)
        {
            await AbandonAsync(transport, tls);
            if (e is TlsHandshakeException) throw;
            throw verdict.Refusal is { } refusal
                ? new TlsHandshakeException($"invalid peer certificate: {refusal}", peerRefused: true, e) { IsRevoked = verdict.IsRevoked }
                : new TlsHandshakeException(Innermost(e), inner: e);
        }
        catch (OperationCanceledException)
        {
            transport.Abort();
            await AbandonAsync(transport, tls);
            throw;
        }
    }

    /// <summary>Closes after the alert, which the TLS engine has sent if there was one to send.</summary>
    private static async Task AbandonAsync(ITransport transport, SslStream tls)
    {
        try
        {
            await transport.ShutdownWriteAsync();
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or InvalidOperationException)
        {
            // Nobody is left to be told.
        }
        await transport.DisposeAsync();
        await tls.DisposeAsync();
    }

    private static string Innermost(Exception e) => e.InnerException is { } inner ? $"{e.Message} {Innermost(inner)}" : e.Message;

    /// <summary>What one handshake's verification found.</summary>
    private sealed class Verdict
    {
        private SvidVerdict? _verdict;
        private List<ReadOnlyMemory<byte>> _certificates = [];

        public TlsPeer? Peer => _verdict is SvidVerdict.Accepted accepted ? new TlsPeer(accepted.Identity, accepted.NotAfter, _certificates) { Path = accepted.Path } : null;
        public bool IsRevoked => _verdict is SvidVerdict.Rejected { IsRevoked: true };
        public string? Refusal => (_verdict as SvidVerdict.Rejected)?.Reason;

        public void Take(SvidVerdict verdict) => _verdict = verdict;

        /// <summary>Also keeps what the peer sent; the certificate objects themselves live no longer than the handshake.</summary>
        public RemoteCertificateValidationCallback Keeping(RemoteCertificateValidationCallback judge) => (sender, certificate, chain, errors) =>
        {
            if (certificate is X509Certificate2 leaf)
            {
                _certificates = [leaf.RawDataMemory];
                foreach (var sent in chain?.ChainPolicy.ExtraStore ?? [])
                    if (!sent.RawDataMemory.Span.SequenceEqual(leaf.RawDataMemory.Span)) _certificates.Add(sent.RawDataMemory);
            }
            return judge(sender, certificate, chain, errors);
        };
    }
}
