using System.Security.Cryptography;

namespace AmbientMesh.Fuzz;

/// <summary>Inputs kept as files. <c>Corpus/TARGET</c> of the source tree holds what was once found to break a promise; every test run tries it again.</summary>
public static class Corpus
{
    /// <summary>The kept inputs of a target, with their file names.</summary>
    public static IEnumerable<(string Name, byte[] Input)> Kept(FuzzTarget target) => In(Path.Combine(AppContext.BaseDirectory, "Corpus", target.Name));

    /// <summary>Everything in a folder, which need not exist.</summary>
    internal static IEnumerable<(string Name, byte[] Input)> In(string folder) =>
        Directory.Exists(folder) ? Directory.EnumerateFiles(folder).Order(StringComparer.Ordinal).Select(file => (Path.GetFileName(file), File.ReadAllBytes(file))) : [];

    /// <summary>Writes an input under a name made from its content.</summary>
    internal static string Keep(string folder, byte[] input, string prefix = "")
    {
        Directory.CreateDirectory(folder);
        var path = Path.Combine(folder, prefix + Convert.ToHexStringLower(SHA256.HashData(input))[..16]);
        if (!File.Exists(path)) File.WriteAllBytes(path, input);
        return path;
    }
}
