using System.Diagnostics;
using AmbientMesh.Lab.Api.Http;

namespace AmbientMesh.Lab.Tests.Api;

/// <summary>The kubectl of this machine as the master user of one server; its home is a folder of its own.</summary>
internal sealed class Kubectl : IDisposable
{
    private Kubectl(string folder) => Folder = folder;

    public string Folder { get; }

    /// <summary>Skips the running test where kubectl is absent.</summary>
    public static async Task<Kubectl> ForAsync(ApiServer server)
    {
        Assert.SkipUnless((Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(p => File.Exists(Path.Combine(p, "kubectl"))), "kubectl is not installed");
        var folder = Directory.CreateTempSubdirectory("lab-kubectl-").FullName;
        await File.WriteAllTextAsync(Path.Combine(folder, "kubeconfig"), server.AdminKubeconfig("test", $"https://{server.Addresses[0]}"), Patience.Token);
        return new Kubectl(folder);
    }

    public Process Start(params string[] arguments)
    {
        var start = new ProcessStartInfo("kubectl") { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        start.Environment["KUBECONFIG"] = Path.Combine(Folder, "kubeconfig");
        start.Environment["HOME"] = Folder;
        foreach (var argument in arguments) start.ArgumentList.Add(argument);
        return Process.Start(start)!;
    }

    public async Task<(int Code, string Output, string Error)> TryAsync(string? input, params string[] arguments)
    {
        using var process = Start(arguments);
        await process.StandardInput.WriteAsync(input);
        process.StandardInput.Close();
        var output = process.StandardOutput.ReadToEndAsync(Patience.Token);
        var error = process.StandardError.ReadToEndAsync(Patience.Token);
        await process.WaitForExitAsync(Patience.Token);
        return (process.ExitCode, (await output).Trim(), (await error).Trim());
    }

    public Task<string> RunAsync(params string[] arguments) => FeedAsync(null, arguments);

    /// <summary>Runs to success with this standard input and returns the output.</summary>
    public async Task<string> FeedAsync(string? input, params string[] arguments)
    {
        var (code, output, error) = await TryAsync(input, arguments);
        Assert.True(code == 0, $"kubectl {string.Join(' ', arguments)} ended with {code}: {error}\n{output}");
        return output;
    }

    public void Dispose() => Directory.Delete(Folder, recursive: true);
}
