using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Model;

namespace AmbientMesh.Hbone;

/// <summary>What one identity needs for handshakes: its leaf with key, the chain it presents, and the roots it trusts. Make one per SVID and keep it: the
/// TLS engine's form of the certificates is prepared once here. Replaced whole when the SVID is renewed.</summary>
public sealed class TlsCredentials
{
    /// <summary>Prepares the certificates for handshakes.</summary>
    /// <param name="leaf">Certificate with its private key.</param>
    /// <param name="intermediates">Certificates presented after the leaf, in order.</param>
    /// <param name="roots">Trust anchors peers are verified against, and nothing else is.</param>
    public TlsCredentials(SpiffeId identity, X509Certificate2 leaf, X509Certificate2Collection intermediates, X509Certificate2Collection roots)
    {
        if (!leaf.HasPrivateKey) throw new ArgumentException($"The certificate of {identity} has no private key.", nameof(leaf));
        Identity = identity;
        Leaf = leaf;
        Roots = roots;
        Context = SslStreamCertificateContext.Create(leaf, intermediates, offline: true);
    }

    public SpiffeId Identity { get; }
    public X509Certificate2 Leaf { get; }
    public X509Certificate2Collection Roots { get; }
    internal SslStreamCertificateContext Context { get; }
}
