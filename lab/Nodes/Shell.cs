namespace AmbientMesh.Lab.Nodes;

/// <summary>Quoting for scripts that the machine's /bin/sh runs.</summary>
public static class Shell
{
    /// <summary>The text as one shell word, whatever it holds (no NUL).</summary>
    public static string Quote(string text) => $"'{text.Replace("'", "'\\''")}'";

    public static string Quote(IEnumerable<string> words) => string.Join(' ', words.Select(Quote));
}
