using System.ComponentModel;
using System.Diagnostics;

namespace AmbientMesh.Linux;

/// <summary>One run of a system program (<c>iptables-restore</c>, <c>nft</c>, <c>ip</c>).</summary>
public sealed record ProgramCall(string Name, params string[] Arguments)
{
    /// <summary>Text for standard input; null closes it at once.</summary>
    public string? Input { get; init; }

    /// <summary>The network namespace to run in; null for the process's own.</summary>
    public NetworkNamespace? Inside { get; init; }

    /// <summary>Added to the inherited environment.</summary>
    public IReadOnlyDictionary<string, string> Environment { get; init; } = new Dictionary<string, string>();

    /// <summary>The program is killed after this long.</summary>
    public TimeSpan Deadline { get; init; } = TimeSpan.FromSeconds(20);

    public override string ToString() => $"{Name} {string.Join(' ', Arguments)}";
}

/// <summary>How a program ended and what it wrote.</summary>
public sealed record ProgramResult(ProgramCall Call, int ExitCode, string Output, string Errors)
{
    public bool Succeeded => ExitCode == 0;

    /// <summary>This result, when the program succeeded.</summary>
    /// <exception cref="ProgramFailedException">It did not.</exception>
    public ProgramResult Required() => Succeeded ? this : throw ProgramFailedException.Ended(this);
}

/// <summary>A system program could not be run or ended with an error; the message has its name, arguments and own words.</summary>
public sealed class ProgramFailedException(string message, int exitCode, Exception? inner) : IOException(message, inner)
{
    /// <summary>The program's exit code; -1 when it did not run to its end.</summary>
    public int ExitCode { get; } = exitCode;

    internal static ProgramFailedException Ended(ProgramResult result) =>
        new($"{result.Call} ended with {result.ExitCode}: {FirstLines(result)}", result.ExitCode, null);

    internal static ProgramFailedException NotRun(ProgramCall call, string reason, Exception? inner = null) =>
        new($"{call} could not be run: {reason}", -1, inner);

    private static string FirstLines(ProgramResult result)
    {
        var text = (result.Errors.Length > 0 ? result.Errors : result.Output).Trim().ReplaceLineEndings("; ");
        return text.Length > 500 ? text[..500] + "…" : text;
    }
}

/// <summary>Runs system programs, also inside another network namespace (by <c>nsenter</c>, so that no thread of this process goes there).</summary>
public static class HostProgram
{
    /// <summary>Runs to the end and returns whatever the exit code was.</summary>
    /// <exception cref="ProgramFailedException">The program is not installed or outlived its deadline.</exception>
    public static async Task<ProgramResult> RunAsync(ProgramCall call, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(call.Deadline);
        using var process = new Process { StartInfo = Describe(call) };
        try
        {
            process.Start();
        }
        catch (Win32Exception missing)
        {
            throw ProgramFailedException.NotRun(call, missing.Message, missing);
        }
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(limit.Token);
            var errors = process.StandardError.ReadToEndAsync(limit.Token);
            await FeedAsync(process, call.Input);
            await process.WaitForExitAsync(limit.Token);
            return new ProgramResult(call, process.ExitCode, await output, await errors);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            cancellationToken.ThrowIfCancellationRequested();
            throw ProgramFailedException.NotRun(call, $"no end after {call.Deadline.TotalSeconds:0.#} s");
        }
    }

    private static ProcessStartInfo Describe(ProgramCall call)
    {
        var start = new ProcessStartInfo(call.Inside is null ? call.Name : "nsenter")
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        if (call.Inside is { } inside)
        {
            start.ArgumentList.Add($"--net={inside.Path}");
            start.ArgumentList.Add("--");
            start.ArgumentList.Add(call.Name);
        }
        foreach (var argument in call.Arguments) start.ArgumentList.Add(argument);
        foreach (var (name, value) in call.Environment) start.Environment[name] = value;
        return start;
    }

    private static async Task FeedAsync(Process process, string? input)
    {
        try
        {
            if (input is not null) await process.StandardInput.WriteAsync(input);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // The program ended without reading everything; its exit code says why.
        }
    }
}
