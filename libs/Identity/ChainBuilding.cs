using System.Security.Cryptography.X509Certificates;

namespace AmbientMesh.Identity;

/// <summary>Finds the path from a certificate to any root of a bundle.</summary>
/// <remarks>
/// OpenSSL looks issuers up by name and key identifier and does not come back when the first one found did not sign, or has ended. Roots may share a name, after a new
/// key for instance, and certificates may lack the key identifier of their issuer: then each such root is tried alone. What a path proves is the same.
/// </remarks>
internal static class ChainBuilding
{
    /// <summary>The path, for the caller to dispose of; null when there is none.</summary>
    /// <param name="untrusted">Intermediates that may be on the path.</param>
    /// <param name="flags">What is forgiven.</param>
    /// <param name="problem">Why there is none, by the attempt over all roots.</param>
    /// <param name="isTime">A certificate that is not valid now is among the reasons.</param>
    public static X509Chain? TryBuild(
        X509Certificate2 certificate, X509Certificate2Collection untrusted, TrustBundle roots, DateTimeOffset at, X509VerificationFlags flags, out string problem, out bool isTime)
    {
        if (TryBuild(certificate, untrusted, roots.Roots, at, flags, out problem, out isTime) is { } chain) return chain;
        foreach (var root in roots.Namesakes)
            if (TryBuild(certificate, untrusted, [root], at, flags, out _, out var ended) is { } other) return other;
            else isTime |= ended;
        return null;
    }

    private static X509Chain? TryBuild(
        X509Certificate2 certificate, X509Certificate2Collection untrusted, IReadOnlyList<X509Certificate2> roots, DateTimeOffset at, X509VerificationFlags flags, out string problem, out bool isTime)
    {
        var chain = new X509Chain { ChainPolicy = ChainPolicies.Offline(roots, at) };
        chain.ChainPolicy.VerificationFlags = flags;
        chain.ChainPolicy.ExtraStore.AddRange(untrusted);
        (problem, isTime) = ("", false);
        if (chain.Build(certificate)) return chain;
        problem = ChainPolicies.Describe(chain);
        isTime = chain.ChainStatus.Any(status => status.Status.HasFlag(X509ChainStatusFlags.NotTimeValid));
        chain.Dispose();
        return null;
    }
}
