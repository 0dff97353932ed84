using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Model;

namespace AmbientMesh.Hbone;

/// <summary>The other end of a TLS session, verified.</summary>
/// <param name="Identity">The identity its leaf carries.</param>
/// <param name="Chain">Its certificates as verified, leaf first; kept for revocation checks later.</param>
public sealed record TlsPeer(SpiffeId Identity, IReadOnlyList<X509Certificate2> Chain);
