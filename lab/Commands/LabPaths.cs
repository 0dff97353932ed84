using System.Text.RegularExpressions;

namespace AmbientMesh.Lab.Commands;

/// <summary>Where a lab keeps what must be found again: one folder below <c>/run/ambientmesh-lab</c>.</summary>
public sealed partial record LabPaths(string Name)
{
    private const string Root = "/run/ambientmesh-lab";

    public string Directory => $"{Root}/{Name}";
    public string State => $"{Directory}/state.json";
    public string Log => $"{Directory}/daemon.log";
    public string Kubeconfig => $"{Directory}/kubeconfig";
    public string Overrides => $"{Directory}/overrides";

    /// <summary>Names of all labs that have left something, running or not.</summary>
    public static IReadOnlyList<string> All() =>
        System.IO.Directory.Exists(Root) ? [.. System.IO.Directory.GetDirectories(Root).Select(d => Path.GetFileName(d)).Order(StringComparer.Ordinal)] : [];

    /// <summary>Null for a usable name, else what is wrong with it.</summary>
    public static string? NameProblem(string name) =>
        NamePattern().IsMatch(name) ? null : $"'{name}' is no lab name: use lower-case letters, digits and '-', at most 20, beginning with a letter.";

    [GeneratedRegex("^[a-z][a-z0-9-]{0,19}$")]
    private static partial Regex NamePattern();
}
