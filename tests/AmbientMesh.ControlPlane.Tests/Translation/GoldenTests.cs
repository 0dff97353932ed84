namespace AmbientMesh.ControlPlane.Tests.Translation;

/// <summary>Objects as a user writes them (<c>Golden/*.yaml</c>) and, beside them, the resources they become (<c>*.expected.json</c>).</summary>
/// <remarks>With UPDATE_GOLDEN=1 in the environment the expectations are written anew, to be read in review.</remarks>
public class GoldenTests
{
    private static string Folder => Path.Combine(Samples.Root, "tests", "AmbientMesh.ControlPlane.Tests", "Translation", "Golden");

    public static TheoryData<string> Cases => [.. Directory.GetFiles(Folder, "*.yaml").Select(f => Path.GetFileNameWithoutExtension(f)).Order(StringComparer.Ordinal)];

    [Theory]
    [MemberData(nameof(Cases))]
    [Scenario("L4-043", "L4-044")]
    public void Objects_become_these_resources(string name)
    {
        var world = new TranslationWorld().WithYaml(File.ReadAllText(Path.Combine(Folder, name + ".yaml")));
        Assert.Empty(world.Failures);
        var expectation = Path.Combine(Folder, name + ".expected.json");
        if (Environment.GetEnvironmentVariable("UPDATE_GOLDEN") == "1") File.WriteAllText(expectation, world.Text());
        Assert.Equal(File.ReadAllText(expectation), world.Text());
    }
}
