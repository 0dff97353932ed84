namespace AmbientMesh.Linux.Tests;

/// <summary>A namespace for one test, with loopback up; skips when the machine does not allow it.</summary>
internal static class Kernel
{
    public static async Task<NetworkNamespace> NamespaceAsync()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "Network namespaces need root.");
        var made = NetworkNamespace.Create();
        await ShAsync(made, "ip link set lo up");
        return made;
    }

    public static async Task<string> ShAsync(NetworkNamespace? inside, string script) =>
        (await HostProgram.RunAsync(new ProgramCall("sh", "-ec", script) { Inside = inside }, Patience.Token)).Required().Output;
}
