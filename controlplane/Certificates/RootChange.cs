using AmbientMesh.Identity;

namespace AmbientMesh.ControlPlane.Certificates;

/// <summary>Whether one set of roots may follow another while certificates of both are in use (l7 reference 10.5). Pure.</summary>
internal static class RootChange
{
    /// <summary>One of the two must contain the other: roots are added, or taken away, never exchanged. Roots that have ended do not count: nothing rests on them.</summary>
    public static bool IsSafe(TrustBundle before, TrustBundle after, DateTimeOffset now)
    {
        var (old, @new) = (Thumbprints(before, now), Thumbprints(after, now));
        return old.IsSubsetOf(@new) || @new.IsSubsetOf(old);
    }

    /// <summary>Subjects and serial numbers, for the log.</summary>
    public static string Describe(TrustBundle roots) => string.Join("; ", roots.Roots.Select(root => $"{root.Subject} {root.SerialNumber}"));

    private static HashSet<string> Thumbprints(TrustBundle roots, DateTimeOffset now) => [.. roots.Roots.Where(root => root.NotAfter.ToUniversalTime() > now.UtcDateTime).Select(root => root.Thumbprint)];
}
