namespace AmbientMesh.Lab.Demo;

/// <summary>Types commands before the user's eyes: the line, then what it printed.</summary>
public sealed class DemoShell(DemoScreen screen, CommandRunner run)
{
    private const int Shown = 24;

    /// <summary>What kubectl printed. A program run by <c>exec</c> may fail; its output says so.</summary>
    /// <exception cref="CommandFailedException">kubectl itself ended with another code than 0.</exception>
    public async Task<string> KubectlAsync(CancellationToken cancellationToken, params string[] arguments)
    {
        screen.Command("kubectl " + string.Join(' ', arguments));
        var result = await run.KubectlAsync(cancellationToken, arguments);
        Print(result);
        if (!result.Succeeded && arguments[0] != "exec") throw new CommandFailedException($"kubectl {string.Join(' ', arguments)} ended with code {result.ExitCode}.");
        return result.Output;
    }

    /// <summary>What meshctl printed; it may end with a code that says what it found.</summary>
    public async Task<string> MeshctlAsync(string program, CancellationToken cancellationToken, params string[] arguments)
    {
        screen.Command("meshctl " + string.Join(' ', arguments));
        var result = await run.RunAsync(program, arguments, cancellationToken);
        screen.Lines((result.Output + result.Errors).Split('\n').Select(line => line.TrimEnd()));
        return result.Output;
    }

    /// <summary>Applies one manifest, shown as it is.</summary>
    public async Task ApplyAsync(string manifest, CancellationToken cancellationToken)
    {
        var file = Path.Combine(Path.GetTempPath(), $"mesh-demo-{Environment.ProcessId}.yaml");
        await File.WriteAllTextAsync(file, manifest, cancellationToken);
        try
        {
            screen.Command("kubectl apply -f - <<EOF");
            screen.Lines(manifest.Split('\n').Select(line => "  " + line));
            Print(await MustAsync(cancellationToken, "apply", "-f", file));
        }
        finally
        {
            File.Delete(file);
        }
    }

    private async Task<CommandResult> MustAsync(CancellationToken cancellationToken, params string[] arguments)
    {
        var result = await run.KubectlAsync(cancellationToken, arguments);
        return result.Succeeded ? result : throw new CommandFailedException($"kubectl {string.Join(' ', arguments)} ended with code {result.ExitCode}: {result.Errors.Trim()}");
    }

    private void Print(CommandResult result)
    {
        var lines = (result.Output + result.Errors).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        screen.Lines(lines.Length <= Shown ? lines : [.. lines[..(Shown - 4)], $"… {lines.Length - Shown + 4} more lines"]);
    }
}
