using AmbientMesh.Lab.Commands;
using AmbientMesh.Lab.Nodes;

namespace AmbientMesh.Lab.Tests.Commands;

/// <summary>A lab of two nodes made by the command line as a user makes it, shared by the tests of one class.</summary>
public sealed class LabFixture : IAsyncLifetime
{
    public string Name { get; } = NewName();
    public LabPaths Paths => new(Name);

    public static string NewName() => $"t{Environment.ProcessId % 100000}-{Guid.NewGuid().ToString("N")[..6]}";

    public async ValueTask InitializeAsync()
    {
        if (LabRequirements.Problem() is { } problem) Assert.Skip(problem);
        Assert.SkipUnless(File.Exists("/usr/bin/kubectl") || File.Exists("/usr/local/bin/kubectl"), "kubectl is not installed.");
        var up = await LabAsync("up", "--name", Name);
        Assert.True(up.Succeeded, up.Output + up.Error);
    }

    public async ValueTask DisposeAsync() => await LabAsync("down", "--name", Name);

    /// <summary>Runs the built tool.</summary>
    public static Task<CommandResult> LabAsync(params string[] arguments) =>
        HostCommand.RunAsync(["dotnet", Path.Combine(Samples.Root, "artifacts/bin/AmbientMesh.Lab/release/mesh-lab.dll"), .. arguments], cancellationToken: Patience.Token);

    public Task<CommandResult> TryKubectlAsync(string[] arguments, string? input = null) =>
        HostCommand.RunAsync(["kubectl", "--kubeconfig", Paths.Kubeconfig, .. arguments], input, cancellationToken: Patience.Token);

    /// <summary>The command's output; fails the test when kubectl does.</summary>
    public async Task<string> KubectlAsync(params string[] arguments)
    {
        var result = await TryKubectlAsync(arguments);
        Assert.True(result.Succeeded, $"kubectl {string.Join(' ', arguments)}: {result.Error}{result.Output}");
        return result.Output;
    }

    public async Task ApplyAsync(string yaml)
    {
        var result = await TryKubectlAsync(["apply", "-f", "-"], yaml);
        Assert.True(result.Succeeded, result.Error);
    }

    /// <summary>Asks again until the output of kubectl says so; the wait is for a change by others, so asking is all there is.</summary>
    public async Task<string> EventuallyAsync(Func<string, bool> holds, params string[] arguments)
    {
        var patience = Patience.Token;
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(200));
        while (true)
        {
            var result = await TryKubectlAsync(arguments);
            if (result.Succeeded && holds(result.Output)) return result.Output;
            try
            {
                await timer.WaitForNextTickAsync(patience);
            }
            catch (OperationCanceledException)
            {
                Assert.Fail($"kubectl {string.Join(' ', arguments)} still says: {result.Output}{result.Error}");
            }
        }
    }
}
