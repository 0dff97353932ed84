using System.Diagnostics;
using AmbientMesh.Lab.Api.Pods;
using Microsoft.Win32.SafeHandles;

namespace AmbientMesh.Lab.Nodes;

/// <summary>A command in a container with a terminal of its own.</summary>
internal sealed class TerminalSession : IExecSession
{
    private readonly Process _process;
    private readonly SafeFileHandle _terminal;
    private readonly TerminalStream _stream;

    private TerminalSession(Process process, SafeFileHandle terminal)
    {
        (_process, _terminal) = (process, terminal);
        _stream = new TerminalStream(terminal);
        ExitCode = ExitAsync(process);
    }

    public Stream? StandardInput => _stream;
    public Stream? StandardOutput => _stream;
    public Stream? StandardError => null;
    public Task<int> ExitCode { get; }

    public static TerminalSession Start(RunningContainer container, IReadOnlyList<string> command)
    {
        var (terminal, name) = Syscalls.OpenTerminal();
        var inside = Shell.Quote(container.Exec(command, terminal: true));
        var process = HostCommand.Start(["sh", "-c", $"exec <>{name} >&0 2>&0; exec {inside}"]);
        process.StandardInput.Close();
        return new TerminalSession(process, terminal);
    }

    public void Resize(int columns, int rows) => Syscalls.ResizeTerminal(_terminal, columns, rows);

    public async ValueTask DisposeAsync()
    {
        if (!ExitCode.IsCompleted) ExecSession.KillTree(_process.Id);
        await ExitCode;
        await _stream.DisposeAsync();
        _process.Dispose();
    }

    private static async Task<int> ExitAsync(Process process)
    {
        await process.WaitForExitAsync();
        return process.ExitCode;
    }
}
