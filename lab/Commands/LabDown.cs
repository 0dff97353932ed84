namespace AmbientMesh.Lab.Commands;

/// <summary><c>down</c>: ends labs and removes everything they made.</summary>
internal static class LabDown
{
    public static async Task<int> RunAsync(IReadOnlyList<string> names, CancellationToken cancellationToken)
    {
        foreach (var name in names)
        {
            if (LabPaths.NameProblem(name) is { } problem)
            {
                await Console.Error.WriteLineAsync($"mesh lab down: {problem}");
                return 2;
            }
            var paths = new LabPaths(name);
            if (!Directory.Exists(paths.Directory))
            {
                await Console.Out.WriteLineAsync($"there is no lab '{name}'");
                continue;
            }
            await LabCleaning.RemoveAsync(paths, cancellationToken);
            await Console.Out.WriteLineAsync($"lab '{name}' is gone");
        }
        return 0;
    }
}
