using AmbientMesh.Hbone.OpenSsl;
using AmbientMesh.Identity;
using AmbientMesh.Model;

namespace AmbientMesh.Hbone;

/// <summary>The handshake did not come about; the message is what logs show.</summary>
/// <param name="peerRefused">We refused the peer's certificate, as opposed to a failure of TLS itself.</param>
public sealed class TlsHandshakeException(string message, bool peerRefused = false, Exception? inner = null) : IOException(message, inner)
{
    public bool PeerRefused => peerRefused;

    /// <summary>Whether a revocation list decided; such refusals are counted on their own.</summary>
    public bool IsRevoked { get; init; }
}

/// <summary>Which implementation carries TLS.</summary>
public enum TlsEngine
{
    /// <summary>OpenSSL 3 directly.</summary>
    OpenSsl,
    /// <summary>The framework's SslStream.</summary>
    SslStream,
}

/// <summary>Mutual TLS 1.3 for HBONE, both ends (L4 contracts §3.1): ALPN h2, no SNI, no resumption, no revocation look-ups, the peer judged by the
/// credentials' verifier and nothing else.</summary>
public static class TlsHandshake
{
    /// <summary>OpenSSL where it can be loaded.</summary>
    public static TlsEngine DefaultEngine { get; } = Native.IsAvailable ? TlsEngine.OpenSsl : TlsEngine.SslStream;

    /// <summary>Client end: the server must be one of <paramref name="expected"/>; an empty list accepts nobody. Owns <paramref name="transport"/> from
    /// the call on, also when it fails.</summary>
    /// <exception cref="TlsHandshakeException">The peer is not who it must be, or does not speak TLS 1.3 with h2.</exception>
    public static Task<TlsTransport> ConnectAsync(
        ITransport transport, TlsCredentials own, IReadOnlyList<SpiffeId> expected, CancellationToken cancellationToken = default) =>
        ConnectAsync(DefaultEngine, transport, own, expected, cancellationToken);

    internal static Task<TlsTransport> ConnectAsync(
        TlsEngine engine, ITransport transport, TlsCredentials own, IReadOnlyList<SpiffeId> expected, CancellationToken cancellationToken) =>
        engine == TlsEngine.SslStream
            ? SslStreamHandshake.ConnectAsync(transport, own, expected, cancellationToken)
            : OpenSslHandshake.RunAsync(transport, own, server: false, new PeerExpectation.OneOf(expected), cancellationToken);

    /// <summary>Server end: the client must belong to our own trust domain. A client without ALPN is served, one with another protocol is not. Owns
    /// <paramref name="transport"/> from the call on, also when it fails.</summary>
    /// <exception cref="TlsHandshakeException">The client showed no acceptable certificate, or does not speak TLS 1.3.</exception>
    public static Task<TlsTransport> AcceptAsync(ITransport transport, TlsCredentials own, CancellationToken cancellationToken = default) =>
        AcceptAsync(DefaultEngine, transport, own, cancellationToken);

    internal static Task<TlsTransport> AcceptAsync(TlsEngine engine, ITransport transport, TlsCredentials own, CancellationToken cancellationToken) =>
        engine == TlsEngine.SslStream
            ? SslStreamHandshake.AcceptAsync(transport, own, cancellationToken)
            : OpenSslHandshake.RunAsync(transport, own, server: true, new PeerExpectation.TrustDomainMember(own.Identity.TrustDomain), cancellationToken);
}
