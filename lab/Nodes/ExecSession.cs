using System.Diagnostics;
using AmbientMesh.Lab.Api.Pods;

namespace AmbientMesh.Lab.Nodes;

/// <summary>A command in a container, with pipes.</summary>
internal sealed class ExecSession : IExecSession
{
    private readonly Process _process;

    private ExecSession(Process process, PodExecRequest request)
    {
        _process = process;
        StandardInput = request.Stdin ? process.StandardInput.BaseStream : null;
        if (!request.Stdin) process.StandardInput.Close();
        StandardOutput = request.Stdout ? process.StandardOutput.BaseStream : null;
        StandardError = request.Stderr ? process.StandardError.BaseStream : null;
        // What nobody asked for is read all the same, or the command would wait for a reader.
        if (!request.Stdout) _ = process.StandardOutput.BaseStream.CopyToAsync(Stream.Null);
        if (!request.Stderr) _ = process.StandardError.BaseStream.CopyToAsync(Stream.Null);
        ExitCode = ExitAsync(process);
    }

    public Stream? StandardInput { get; }
    public Stream? StandardOutput { get; }
    public Stream? StandardError { get; }
    public Task<int> ExitCode { get; }

    public static ExecSession Start(RunningContainer container, PodExecRequest request) => new(HostCommand.Start(container.Exec(request.Command)), request);

    public void Resize(int columns, int rows)
    {
        // Only a terminal has a size.
    }

    public async ValueTask DisposeAsync()
    {
        if (!ExitCode.IsCompleted) KillTree(_process.Id);
        await ExitCode;
        _process.Dispose();
    }

    /// <summary>Ends a process and its descendants, which may be in other pid namespaces.</summary>
    internal static void KillTree(int process)
    {
        var children = "";
        try
        {
            children = File.ReadAllText($"/proc/{process}/task/{process}/children");
        }
        catch (IOException)
        {
            // Gone already.
        }
        foreach (var child in children.Split(' ', StringSplitOptions.RemoveEmptyEntries)) KillTree(int.Parse(child));
        Syscalls.Signal(process, Syscalls.SignalKill);
    }

    private static async Task<int> ExitAsync(Process process)
    {
        await process.WaitForExitAsync();
        return process.ExitCode;
    }
}
