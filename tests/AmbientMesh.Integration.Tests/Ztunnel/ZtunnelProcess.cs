using System.Diagnostics;
using System.Text;
using AmbientMesh.Linux;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>The ztunnel program itself, running inside a namespace.</summary>
public sealed class ZtunnelProcess : IAsyncDisposable
{
    private readonly Process _process;
    private readonly StringBuilder _output = new();
    private readonly Task _reading;
    private bool _isDisposed;

    private ZtunnelProcess(Process process)
    {
        _process = process;
        _reading = Task.WhenAll(ReadAsync(process.StandardOutput), ReadAsync(process.StandardError));
    }

    public string Output
    {
        get { lock (_output) return _output.ToString(); }
    }

    /// <summary>The program itself, not what wraps it.</summary>
    public int Id => _process.Id;

    public bool HasExited => _process.HasExited;

    /// <summary>Starts it in a pod's namespace with this environment; <paramref name="before"/> wraps the command, e.g. to take rights away.</summary>
    public static ZtunnelProcess Start(PodNamespace pod, IReadOnlyDictionary<string, string> environment, params string[] before)
    {
        var program = Path.Combine(Samples.Root, "artifacts", "bin", "AmbientMesh.Ztunnel", "release", "ztunnel.dll");
        var start = new ProcessStartInfo("nsenter", [$"--net={pod.Namespace.Path}", .. before, Environment.ProcessPath ?? "dotnet", program, "proxy", "ztunnel"]) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var (name, value) in environment) start.Environment[name] = value;
        return new ZtunnelProcess(Process.Start(start)!);
    }

    /// <summary>Sends a signal by name.</summary>
    public async Task SignalAsync(string signal) =>
        (await HostProgram.RunAsync(new ProgramCall("kill", $"-{signal}", _process.Id.ToString()), Patience.Token)).Required();

    /// <summary>The exit code, once it has ended.</summary>
    public async Task<int> ExitedAsync()
    {
        await _process.WaitForExitAsync(Patience.Token);
        await _reading;
        return _process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        if (_isDisposed) return;
        _isDisposed = true;
        if (!_process.HasExited) _process.Kill();
        await _process.WaitForExitAsync(CancellationToken.None);
        await _reading;
        _process.Dispose();
    }

    private async Task ReadAsync(StreamReader reader)
    {
        while (await reader.ReadLineAsync(CancellationToken.None) is { } line)
            lock (_output) _output.AppendLine(line);
    }
}
