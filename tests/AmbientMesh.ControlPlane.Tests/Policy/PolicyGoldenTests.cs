namespace AmbientMesh.ControlPlane.Tests.Policy;

/// <summary>Policies as a user writes them (<c>Golden/*.yaml</c>) and, beside them, what ztunnels get and the user is told (<c>*.expected.json</c>).</summary>
/// <remarks>With UPDATE_GOLDEN=1 in the environment the expectations are written anew, to be read in review.</remarks>
public class PolicyGoldenTests
{
    private static string Folder => Path.Combine(Samples.Root, "tests", "AmbientMesh.ControlPlane.Tests", "Policy", "Golden");

    public static TheoryData<string> Cases => [.. Directory.GetFiles(Folder, "*.yaml").Select(f => Path.GetFileNameWithoutExtension(f)).Order(StringComparer.Ordinal)];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Policies_become_these_resources(string name)
    {
        var text = new PolicyWorld().With(File.ReadAllText(Path.Combine(Folder, name + ".yaml"))).Text();
        var expectation = Path.Combine(Folder, name + ".expected.json");
        if (Environment.GetEnvironmentVariable("UPDATE_GOLDEN") == "1") File.WriteAllText(expectation, text);
        Assert.Equal(File.ReadAllText(expectation), text);
    }
}
