namespace AmbientMesh.Testing;

/// <summary>A folder for files of the whole run, such as locks, gone when the test program ends.</summary>
public static class RunFolder
{
    public static string Path { get; } = Make();

    private static string Make()
    {
        var folder = Directory.CreateTempSubdirectory("ambientmesh-tests-").FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(folder, recursive: true);
        return folder;
    }
}
