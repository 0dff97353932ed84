using System.Security.Cryptography.X509Certificates;

namespace AmbientMesh.Identity;

/// <summary>Chain building without the machine's trust store, the network or revocation look-ups.</summary>
internal static class ChainPolicies
{
    public static X509ChainPolicy Offline(IReadOnlyList<X509Certificate2> roots, DateTimeOffset at)
    {
        var policy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            RevocationMode = X509RevocationMode.NoCheck,
            DisableCertificateDownloads = true,
            VerificationTime = at.LocalDateTime,
            VerificationTimeIgnored = false,
        };
        policy.CustomTrustStore.AddRange(roots.ToArray());
        return policy;
    }

    public static string Describe(X509Chain chain) => string.Join(", ", chain.ChainStatus.Select(status => status.StatusInformation.Trim()).Distinct());
}
