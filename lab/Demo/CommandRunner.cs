using System.Diagnostics;

namespace AmbientMesh.Lab.Demo;

/// <summary>How a program ended.</summary>
public sealed record CommandResult(int ExitCode, string Output, string Errors)
{
    public bool Succeeded => ExitCode == 0;
}

/// <summary>A program failed that the demo cannot go on without; the message holds the command and what it printed.</summary>
public sealed class CommandFailedException(string message) : Exception(message);

/// <summary>Runs the programs a person would type, with the lab's kubeconfig.</summary>
public sealed class CommandRunner(string kubeconfig)
{
    public Task<CommandResult> KubectlAsync(CancellationToken cancellationToken, params string[] arguments) => RunAsync("kubectl", arguments, cancellationToken);

    /// <exception cref="CommandFailedException">kubectl ended with another code than 0.</exception>
    public async Task<string> MustKubectlAsync(CancellationToken cancellationToken, params string[] arguments)
    {
        var result = await KubectlAsync(cancellationToken, arguments);
        return result.Succeeded ? result.Output : throw Failed("kubectl", arguments, result);
    }

    /// <summary>This program again, with other arguments.</summary>
    public static async Task LabAsync(CancellationToken cancellationToken, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo("dotnet", [typeof(CommandRunner).Assembly.Location, .. arguments]))!;
        await process.WaitForExitAsync(cancellationToken);
        if (process.ExitCode != 0) throw new CommandFailedException($"mesh lab {string.Join(' ', arguments)} ended with code {process.ExitCode}; what it printed is above.");
    }

    /// <summary>What this program prints when run with these arguments.</summary>
    /// <exception cref="CommandFailedException">It ended with another code than 0.</exception>
    public static string ReadLab(params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo("dotnet", [typeof(CommandRunner).Assembly.Location, .. arguments]) { RedirectStandardOutput = true })!;
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0 ? output : throw new CommandFailedException($"mesh lab {string.Join(' ', arguments)} ended with code {process.ExitCode}.");
    }

    public async Task<CommandResult> RunAsync(string program, string[] arguments, CancellationToken cancellationToken)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        start.Environment["KUBECONFIG"] = kubeconfig;
        using var process = Process.Start(start)!;
        process.StandardInput.Close();
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(cancellationToken);
            var errors = process.StandardError.ReadToEndAsync(cancellationToken);
            await process.WaitForExitAsync(cancellationToken);
            return new CommandResult(process.ExitCode, await output, await errors);
        }
        catch (OperationCanceledException)
        {
            if (!process.HasExited) process.Kill(entireProcessTree: true);
            throw;
        }
    }

    private static CommandFailedException Failed(string program, string[] arguments, CommandResult result) =>
        new($"{program} {string.Join(' ', arguments)} ended with code {result.ExitCode}: {(result.Errors.Length > 0 ? result.Errors : result.Output).Trim()}");
}
