using AmbientMesh.Identity;
using AmbientMesh.Model;

namespace AmbientMesh.Hbone;

/// <summary>The other end of a TLS session, verified.</summary>
/// <param name="Identity">The identity its leaf carries.</param>
/// <param name="NotAfter">When its chain stops being valid.</param>
/// <param name="Certificates">DER of what it sent, leaf first; kept for revocation checks later.</param>
public sealed record TlsPeer(SpiffeId Identity, DateTimeOffset NotAfter, IReadOnlyList<ReadOnlyMemory<byte>> Certificates)
{
    /// <summary>The certificates its proof rests on, for judging the living connection when a newer revocation list comes.</summary>
    public IReadOnlyList<CertificateSerial> Path { get; init; } = [];
}
