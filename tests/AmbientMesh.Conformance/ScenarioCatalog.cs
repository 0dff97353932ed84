namespace AmbientMesh.Conformance;

/// <summary>One acceptance scenario of the reference; <paramref name="WaitsFor"/> names the capability it waits for, empty when it is due now.</summary>
public sealed record Scenario(string Id, string Title, string WaitsFor);

/// <summary>The scenarios as listed in <c>scenarios.txt</c>: <c>id | title | waits for</c>, one a line, <c>#</c> begins a comment.</summary>
public static class ScenarioCatalog
{
    public static IReadOnlyList<Scenario> Read(string file) =>
        [.. File.ReadLines(file)
            .Where(line => line.Length > 0 && line[0] != '#')
            .Select(line => line.Split('|', StringSplitOptions.TrimEntries))
            .Select(parts => parts is [var id, var title, var waits] ? new Scenario(id, title, waits) : throw new InvalidDataException($"{file}: expected \"id | title | waits for\", got \"{string.Join(" | ", parts)}\"."))];
}
