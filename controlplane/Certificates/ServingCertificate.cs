using System.Net.Security;
using AmbientMesh.Identity;

namespace AmbientMesh.ControlPlane.Certificates;

/// <summary>The control plane's own TLS certificate, signed by its CA and made anew with it (reference 6.6). Thread-safe.</summary>
public sealed class ServingCertificate(SigningAuthority authority, IReadOnlyList<string> names)
{
    private static readonly TimeSpan Lifetime = TimeSpan.FromDays(3650);

    private readonly Lock _gate = new();
    private CertificateAuthority? _signer;
    private SslStreamCertificateContext? _context;

    /// <summary>The DNS names clients know the control plane by.</summary>
    /// <param name="revision"><c>default</c> adds none.</param>
    /// <param name="customHosts">Further names.</param>
    public static IReadOnlyList<string> NamesOf(string systemNamespace, string revision, IReadOnlyList<string> customHosts)
    {
        List<string> names = [$"istiod.{systemNamespace}.svc", $"istiod-remote.{systemNamespace}.svc", $"istio-pilot.{systemNamespace}.svc"];
        if (revision is not ("" or "default")) names.Add($"istiod-{revision}.{systemNamespace}.svc");
        return [.. names.Concat(customHosts).Distinct(StringComparer.Ordinal)];
    }

    /// <summary>What a new connection is shown.</summary>
    public SslStreamCertificateContext Current()
    {
        lock (_gate)
        {
            var signer = authority.Current;
            if (_context is null || !ReferenceEquals(signer, _signer)) _context = signer.IssueServerCertificate(names, [], Lifetime);
            _signer = signer;
            return _context;
        }
    }
}
