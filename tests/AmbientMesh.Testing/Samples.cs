using Xunit;

namespace AmbientMesh.Testing;

/// <summary>Recorded samples of real peers, read from the folder <c>shared</c> beside the checkout; a test skips with a reason where it is absent.</summary>
public static class Samples
{
    /// <summary>The checkout's root: the nearest parent folder holding <c>AmbientMesh.sln</c>.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>Path of a file or folder below <c>shared/</c>, e.g. <c>samples/ztunnel/zds</c>; skips the running test when it is absent.</summary>
    public static string Path(string relative)
    {
        var path = System.IO.Path.Combine(Root, "..", "shared", relative);
        Assert.SkipUnless(File.Exists(path) || Directory.Exists(path), $"The recordings are not beside this checkout (../shared/{relative}).");
        return path;
    }

    public static string Text(string relative) => File.ReadAllText(Path(relative));

    /// <summary>The bytes of a <c>.hex</c> recording.</summary>
    public static byte[] Hex(string relative) => Convert.FromHexString(Text(relative).Trim());

    private static string FindRoot()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            if (File.Exists(System.IO.Path.Combine(folder.FullName, "AmbientMesh.sln"))) return folder.FullName;
        throw new DirectoryNotFoundException($"AmbientMesh.sln is in no parent folder of {AppContext.BaseDirectory}.");
    }
}
