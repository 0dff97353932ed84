using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Identity;

namespace AmbientMesh.Hbone.OpenSsl;

/// <summary>Handshakes by OpenSSL. A refusal is told to the peer by the alert the reference sends (certificate_required, certificate_unknown, …).</summary>
internal static class OpenSslHandshake
{
    private const string NoCertificate = "peer did not return a certificate";   // OpenSSL's words

    /// <exception cref="TlsHandshakeException">It failed; the transport is closed.</exception>
    public static async Task<TlsTransport> RunAsync(
        ITransport transport, TlsCredentials own, bool server, PeerExpectation expectation, CancellationToken cancellationToken)
    {
        var judge = new Judge(own.Verifier, expectation);
        var session = new Session(server ? own.ServerContext : own.ClientContext, server, judge.Accepts);
        var tls = new OpenSslTransport(transport, session);
        try
        {
            await tls.HandshakeAsync(() => judge.Peer, cancellationToken);
            if (judge.Peer is null) throw new TlsHandshakeException("peer sent no certificate", peerRefused: true);
            // A server accepts a client that does not speak ALPN; OpenSSL has refused one that offered something else.
            if (session.SpeaksHttp2 is false || (!server && session.SpeaksHttp2 is null)) throw new TlsHandshakeException("the peer did not agree on ALPN h2");
            return tls;
        }
        catch (IOException e)
        {
            await CloseAsync(transport, tls);
            if (e is TlsHandshakeException) throw;
            throw judge.Refusal is { } refusal
                ? new TlsHandshakeException($"invalid peer certificate: {refusal}", peerRefused: true, e) { IsRevoked = judge.IsRevoked }
                : e.Message == NoCertificate
                    ? new TlsHandshakeException("peer sent no certificate", peerRefused: true, e)
                    : new TlsHandshakeException(e.Message, inner: e);
        }
        catch (OperationCanceledException)
        {
            transport.Abort();
            await tls.DisposeAsync();
            throw;
        }
    }

    /// <summary>Closes after the alert, which has been sent.</summary>
    private static async Task CloseAsync(ITransport transport, OpenSslTransport tls)
    {
        try
        {
            await transport.ShutdownWriteAsync();
        }
        catch (IOException)
        {
            // Nobody is left to be told.
        }
        await tls.DisposeAsync();
    }

    private sealed class Judge(SvidVerifier verifier, PeerExpectation expectation)
    {
        public TlsPeer? Peer { get; private set; }
        public string? Refusal { get; private set; }
        public bool IsRevoked { get; private set; }

        public bool Accepts(X509Certificate2 leaf, X509Certificate2Collection sent)
        {
            var verdict = verifier.Verify(leaf, sent, expectation);
            Refusal = (verdict as SvidVerdict.Rejected)?.Reason;
            IsRevoked = verdict is SvidVerdict.Rejected { IsRevoked: true };
            if (verdict is not SvidVerdict.Accepted accepted) return false;
            var certificates = new List<ReadOnlyMemory<byte>> { leaf.RawDataMemory };
            foreach (var certificate in sent)
                if (!certificate.RawDataMemory.Span.SequenceEqual(leaf.RawDataMemory.Span)) certificates.Add(certificate.RawDataMemory);
            Peer = new TlsPeer(accepted.Identity, accepted.NotAfter, certificates) { Path = accepted.Path };
            return true;
        }
    }
}
