namespace AmbientMesh.Cni.Tests;

/// <summary>Compares text with a file kept beside the tests; <c>UPDATE_GOLDEN=1</c> writes the file instead, for review.</summary>
internal static class Golden
{
    public static void Check(string name, string actual)
    {
        var path = Path.Combine(Samples.Root, "tests/AmbientMesh.Cni.Tests/Golden", name);
        if (Environment.GetEnvironmentVariable("UPDATE_GOLDEN") == "1") File.WriteAllText(path, actual);
        Assert.True(File.Exists(path), $"{path} is missing; run once with UPDATE_GOLDEN=1 and review it.");
        Assert.Equal(File.ReadAllText(path), actual);
    }
}
