using AmbientMesh.Identity;
using AmbientMesh.Model;

namespace AmbientMesh.Hbone.Tests;

/// <summary>A trust domain with its authority, for handshakes.</summary>
internal sealed class Mesh(string trustDomain = "cluster.local")
{
    private readonly CertificateAuthority _authority = CertificateAuthority.CreateSelfSigned(trustDomain, TimeProvider.System);

    public TrustBundle Roots => _authority.Roots;

    public SpiffeId Id(string account) => new(trustDomain, "default", account);
    public TlsCredentials Credentials(string account) => TlsCredentials.Of(_authority.IssueSvid(Id(account)), SvidRules.Strict, TimeProvider.System);

    /// <summary>The same identity, but trusting another mesh's roots as well.</summary>
    public TlsCredentials TrustingAlso(Mesh other, string account) =>
        new(_authority.IssueSvid(Id(account)), new SvidVerifier(Roots.Union(other.Roots), SvidRules.Strict, TimeProvider.System));

    /// <summary>Two TLS transports over loopback after a good handshake.</summary>
    public async Task<(TlsTransport Client, TlsTransport Server)> PairAsync(TlsEngine? engine = null, string client = "client", string server = "server")
    {
        var (c, s) = await Loopback.PairAsync();
        var accepting = TlsHandshake.AcceptAsync(engine ?? TlsHandshake.DefaultEngine, s, Credentials(server), Patience.Token);
        var connected = await TlsHandshake.ConnectAsync(engine ?? TlsHandshake.DefaultEngine, c, Credentials(client), [Id(server)], Patience.Token);
        return (connected, await accepting);
    }

    public async Task<(HboneClientConnection Client, HboneServerConnection Server)> TunnelAsync(HboneOptions? options = null)
    {
        var (client, server) = await PairAsync();
        return (HboneClientConnection.Start(client, options ?? new(), client.Peer), HboneServerConnection.Start(server, options ?? new(), server.Peer));
    }
}
