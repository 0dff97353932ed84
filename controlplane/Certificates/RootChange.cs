using AmbientMesh.Identity;

namespace AmbientMesh.ControlPlane.Certificates;

/// <summary>Whether one set of roots may follow another while certificates of both are in use (l7 reference 10.5). Pure.</summary>
internal static class RootChange
{
    /// <summary>One of the two must contain the other: roots are added, or taken away, never exchanged.</summary>
    public static bool IsSafe(TrustBundle before, TrustBundle after)
    {
        var (old, @new) = (Thumbprints(before), Thumbprints(after));
        return old.IsSubsetOf(@new) || @new.IsSubsetOf(old);
    }

    /// <summary>Subjects and serial numbers, for the log.</summary>
    public static string Describe(TrustBundle roots) => string.Join("; ", roots.Roots.Select(root => $"{root.Subject} {root.SerialNumber}"));

    private static HashSet<string> Thumbprints(TrustBundle roots) => [.. roots.Roots.Select(root => root.Thumbprint)];
}
