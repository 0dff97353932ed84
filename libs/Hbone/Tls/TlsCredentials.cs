using AmbientMesh.Identity;
using AmbientMesh.Model;

namespace AmbientMesh.Hbone;

/// <summary>What one identity brings to handshakes: its SVID, and the verifier for peers. Make one per SVID and keep it, both remember work done.
/// Replaced whole when the SVID or its roots are renewed.</summary>
public sealed record TlsCredentials(Svid Svid, SvidVerifier Verifier)
{
    /// <summary>The SVID with a verifier over the roots it came with.</summary>
    public static TlsCredentials Of(Svid svid, SvidRules rules, TimeProvider clock) => new(svid, new SvidVerifier(svid.Roots, rules, clock));

    public SpiffeId Identity => Svid.Id;

    private readonly Lazy<OpenSsl.ContextHandle> _client = new(() => OpenSsl.ContextHandle.Create(Svid, server: false));
    private readonly Lazy<OpenSsl.ContextHandle> _server = new(() => OpenSsl.ContextHandle.Create(Svid, server: true));

    internal OpenSsl.ContextHandle ClientContext => _client.Value;
    internal OpenSsl.ContextHandle ServerContext => _server.Value;
}
