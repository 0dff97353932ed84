using System.Text;
using AmbientMesh.Identity;

namespace AmbientMesh.ControlPlane.Certificates;

/// <summary>The revocation lists beside a plugged-in CA. They are looked at for themselves: what is wrong with the CA's other files must not hold a revocation back.</summary>
internal static class PluggedInRevocations
{
    private const string FileName = "ca-crl.pem";

    /// <summary>The file's text; empty when there is none beside a CA; null when nothing is mounted there at all, which says nothing about what is revoked.</summary>
    public static string? Read(string folder)
    {
        if (Path.Combine(folder, FileName) is var path && File.Exists(path)) return File.ReadAllText(path);
        return File.Exists(Path.Combine(folder, "ca-cert.pem")) || File.Exists(Path.Combine(folder, "tls.crt")) ? "" : null;
    }

    /// <summary>Checks that who must obey the lists can: a list with a wrong signature makes ztunnels refuse every certificate of the issuer it names.</summary>
    /// <returns>Issuers of lists that are not among the CA's certificates, so that their lists could not be checked; ztunnels do when they meet one of theirs.</returns>
    /// <exception cref="FormatException">A list cannot be read, or an issuer that is known did not sign it; the message names the file.</exception>
    public static IReadOnlyList<string> Check(string text, string folder, CertificateAuthority authority)
    {
        try
        {
            var (wrong, unknown) = RevocationList.Parse(Encoding.UTF8.GetBytes(text)).Issuers([authority.Certificate, .. authority.Intermediates, .. authority.Roots.Roots]);
            return wrong.Count == 0 ? unknown : throw new FormatException($"the list of {string.Join(" and of ", wrong)} is not signed by it");
        }
        catch (FormatException e)
        {
            throw new FormatException($"{Path.Combine(folder, FileName)} cannot be used: {e.Message}", e);
        }
    }
}
