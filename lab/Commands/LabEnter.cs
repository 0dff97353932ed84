using System.Diagnostics;

namespace AmbientMesh.Lab.Commands;

/// <summary><c>enter</c>: runs a program on a node, or in the network namespace of the fabric.</summary>
internal static class LabEnter
{
    /// <summary>The program's exit code; 1 when there is no such place.</summary>
    public static async Task<int> RunAsync(string name, string? node, IReadOnlyList<string> command, CancellationToken cancellationToken)
    {
        if (LabState.Load(new LabPaths(name)) is not { Daemon.IsAlive: true } state)
        {
            await Console.Error.WriteLineAsync($"mesh lab enter: the lab '{name}' is not running.");
            return 1;
        }
        var place = node is null ? state.Fabric : state.Nodes.FirstOrDefault(n => n.Name == node)?.Process;
        if (place is null)
        {
            await Console.Error.WriteLineAsync($"mesh lab enter: '{name}' has no node '{node}'; it has {string.Join(", ", state.Nodes.Select(n => n.Name))}.");
            return 1;
        }
        string[] namespaces = node is null ? ["-n"] : ["-m", "-n", "-p", "-u", "-i"];
        using var process = Process.Start(new ProcessStartInfo("nsenter", ["-t", $"{place.Pid}", .. namespaces, "--", .. command]));
        if (process is null) return 1;
        await process.WaitForExitAsync(cancellationToken);
        return process.ExitCode;
    }
}
