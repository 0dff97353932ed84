using System.Diagnostics;
using System.Text;

namespace AmbientMesh.Lab.Nodes;

/// <summary>How a program ended and what it printed.</summary>
public sealed record CommandResult(int ExitCode, string Output, string Error)
{
    public bool Succeeded => ExitCode == 0;
}

/// <summary>A program the lab needs ended badly; the message names the program, its exit code and its last words.</summary>
public sealed class HostCommandException(string message) : IOException(message);

/// <summary>Runs the machine's own programs (ip, nft, nsenter, mount) to their end.</summary>
public static class HostCommand
{
    /// <summary>Runs and collects; a non-zero exit code is a value. Killed when cancelled.</summary>
    public static async Task<CommandResult> RunAsync(
        IReadOnlyList<string> command, string? input = null, IReadOnlyDictionary<string, string>? environment = null, CancellationToken cancellationToken = default)
    {
        using var process = Start(command, environment);
        var output = process.StandardOutput.ReadToEndAsync(cancellationToken);
        var error = process.StandardError.ReadToEndAsync(cancellationToken);
        try
        {
            await FeedAsync(process, input, cancellationToken);
            await process.WaitForExitAsync(cancellationToken);
            return new CommandResult(process.ExitCode, await output, await error);
        }
        catch (OperationCanceledException)
        {
            if (!process.HasExited) process.Kill();
            throw;
        }
    }

    /// <inheritdoc cref="RunAsync"/>
    /// <exception cref="HostCommandException">It ended with another exit code than 0.</exception>
    public static async Task<string> CheckAsync(IReadOnlyList<string> command, string? input = null, CancellationToken cancellationToken = default)
    {
        var result = await RunAsync(command, input, cancellationToken: cancellationToken);
        if (result.Succeeded) return result.Output;
        var lastWords = (result.Error.Length > 0 ? result.Error : result.Output).Trim();
        throw new HostCommandException($"'{string.Join(' ', command.Take(12))}' ended with {result.ExitCode}: {lastWords}");
    }

    /// <summary>Starts with all three streams redirected.</summary>
    public static Process Start(IReadOnlyList<string> command, IReadOnlyDictionary<string, string>? environment = null)
    {
        var info = new ProcessStartInfo(command[0])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = new UTF8Encoding(false),
            StandardErrorEncoding = new UTF8Encoding(false),
            StandardInputEncoding = new UTF8Encoding(false),
        };
        foreach (var argument in command.Skip(1)) info.ArgumentList.Add(argument);
        if (environment is not null)
            foreach (var (name, value) in environment) info.Environment[name] = value;
        return Process.Start(info) ?? throw new HostCommandException($"'{command[0]}' could not be started.");
    }

    private static async Task FeedAsync(Process process, string? input, CancellationToken cancellationToken)
    {
        try
        {
            if (input is not null) await process.StandardInput.WriteAsync(input.AsMemory(), cancellationToken);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It ended without reading everything; its exit code tells the rest.
        }
    }
}
