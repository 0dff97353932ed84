using System.Collections.Concurrent;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using AmbientMesh.Identity;
using AmbientMesh.Rpc;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Certificates;

/// <summary>Clients of the TLS port that show a certificate (reference 6.3): an SVID of this mesh, judged by its roots and revocation lists and by every rule for peers of the mesh.</summary>
/// <remarks>A client need not show one. One that is shown and not good ends the handshake, and one that is no longer good ends the connection, with its streams: it is judged
/// again at each call, at each change of roots or lists, and every minute. Thread-safe.</remarks>
public sealed class ClientCertificates
{
    private static readonly TimeSpan JudgePeriod = TimeSpan.FromMinutes(1);

    private readonly SigningAuthority _authority;
    private readonly PeerExpectation _expected;
    private readonly TimeProvider _clock;
    private readonly ILogger _log;
    private readonly ConcurrentDictionary<ConnectionContext, Shown> _shown = new();
    private readonly Lock _gate = new();
    private (TrustBundle Roots, string Revoked, SvidVerifier? Verifier) _current;

    /// <param name="trustDomain">Of the mesh; certificates of another are refused.</param>
    public ClientCertificates(SigningAuthority authority, string trustDomain, TimeProvider clock, ILogger log)
    {
        _authority = authority;
        _expected = new PeerExpectation.TrustDomainMember(trustDomain);
        _clock = clock;
        _log = log;
        _current = (authority.Current.Roots, "", null);
    }

    private sealed record Shown(X509Certificate2 Leaf, X509Certificate2Collection Sent);

    /// <summary>For the handshake of one connection.</summary>
    public RemoteCertificateValidationCallback Judge(ConnectionContext connection) => (_, certificate, chain, _) =>
    {
        if (certificate is null) return true;
        if (certificate is not X509Certificate2 leaf) return false;
        // What the handshake lends is disposed of with it.
        var shown = new Shown(Copy(leaf), [.. (chain?.ChainPolicy.ExtraStore ?? []).Select(Copy)]);
        if (Verify(shown) is SvidVerdict.Rejected rejected)
        {
            _log.LogWarning("refused a connection from {Peer}: its client certificate is not good: {Reason}", connection.RemoteEndPoint, rejected.Reason);
            return false;
        }
        connection.Items[this] = shown;
        _shown[connection] = shown;
        connection.ConnectionClosed.Register(() => _shown.TryRemove(connection, out Shown? _));
        return true;
    };

    /// <summary>Whom the certificate of a call's connection proves now; null when there is none.</summary>
    public Authentication? Of(RpcServerContext call) => call.ConnectionItems.TryGetValue(this, out var shown)
        ? Verify((Shown)shown!) switch
        {
            SvidVerdict.Accepted accepted => new Authentication.Proven(new Caller(accepted.Identity, null, null)),
            SvidVerdict.Rejected rejected => new Authentication.Refused($"the client certificate is not good: {rejected.Reason}"),
            _ => throw new System.Diagnostics.UnreachableException(),
        }
        : null;

    /// <summary>Ends connections whose certificate is no longer good, until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var changed = _authority.Changed;
            foreach (var (connection, shown) in _shown)
            {
                if (Verify(shown) is not SvidVerdict.Rejected rejected) continue;
                _log.LogWarning("ended the connection from {Peer}: its client certificate is no longer good: {Reason}", connection.RemoteEndPoint, rejected.Reason);
                connection.Abort(new ConnectionAbortedException("the client certificate is no longer good"));
            }
            using var wake = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            await Task.WhenAny(changed, Task.Delay(JudgePeriod, _clock, wake.Token));
            await wake.CancelAsync();
            cancellationToken.ThrowIfCancellationRequested();
        }
    }

    private SvidVerdict Verify(Shown shown) => Verifier().Verify(shown.Leaf, shown.Sent, _expected);

    private SvidVerifier Verifier()
    {
        lock (_gate)
        {
            var (roots, revoked) = (_authority.Current.Roots, _authority.Revoked);
            if (_current.Verifier is not { } verifier || !roots.Equals(_current.Roots) || revoked != _current.Revoked)
                _current = (roots, revoked, verifier = new SvidVerifier(roots, SvidRules.Strict, _clock, RevocationList.Parse(Encoding.UTF8.GetBytes(revoked))));
            return verifier;
        }
    }

    private static X509Certificate2 Copy(X509Certificate2 certificate) => X509CertificateLoader.LoadCertificate(certificate.RawDataMemory.Span);
}
