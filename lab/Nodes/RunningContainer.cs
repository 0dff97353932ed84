using System.Diagnostics;

namespace AmbientMesh.Lab.Nodes;

/// <summary>How a container ended. 128 plus the signal for one that was killed.</summary>
public sealed record ContainerExit(int Code, DateTimeOffset At);

/// <summary>The program could not be started; the message is the runtime's.</summary>
public sealed class ContainerStartException(string message) : IOException(message);

/// <summary>One run of one container.</summary>
public sealed class RunningContainer
{
    private readonly NodeHost _node;
    private readonly Cgroups _cgroups;
    private readonly string _cgroupPath;
    private readonly Process _process;
    private readonly TimeProvider _clock;
    private int _initProcess;

    private RunningContainer(NodeHost node, Cgroups cgroups, string cgroupPath, ContainerSpec spec, ContainerLog log, Process process, TimeProvider clock)
    {
        (_node, _cgroups, _cgroupPath, Spec, Log, _process, _clock) = (node, cgroups, cgroupPath, spec, log, process, clock);
        Exited = Task.FromException<ContainerExit>(new InvalidOperationException("not started"));
    }

    public ContainerSpec Spec { get; }
    public ContainerLog Log { get; }
    public DateTimeOffset StartedAt { get; private set; }

    /// <summary>Completes when the program has ended and all it printed is in the log.</summary>
    public Task<ContainerExit> Exited { get; private set; }

    /// <summary>The program's process as the machine sees it; 0 when it is gone.</summary>
    public int ProcessId => _initProcess;

    /// <summary>Starts the program; returns when it is about to run.</summary>
    /// <exception cref="ContainerStartException">It cannot be: the message says why.</exception>
    public static async Task<RunningContainer> StartAsync(
        NodeHost node, Cgroups cgroups, PodSandbox sandbox, ContainerSpec spec, ContainerLog log, TimeProvider clock, CancellationToken cancellationToken)
    {
        var cgroupPath = $"{spec.CgroupPath}/{spec.Id}";
        var work = $"{sandbox.Directory}/{spec.Id}";
        var folder = node.HostPath(work);
        Directory.CreateDirectory(folder);
        await File.WriteAllTextAsync($"{folder}/init.sh", ContainerScript.For(spec, work, cgroups.Make(cgroupPath)), cancellationToken);
        // The waiting shell turns death by a signal into an exit code (unshare --fork cannot do that for SIGKILL); its own remarks are not the container's.
        var wait = Shell.Quote($"exec 4>&2 2>/dev/null; sh {work}/init.sh; exit $?");
        var process = HostCommand.Start(node.Enter("sh", "-c",
            $"exec {sandbox.EnterWords} unshare --mount --propagation slave {(spec.HostPid ? "" : "--pid ")}sh -c {wait}"));
        process.StandardInput.Close();
        var container = new RunningContainer(node, cgroups, cgroupPath, spec, log, process, clock);
        await container.AwaitStartAsync(cancellationToken);
        return container;
    }

    /// <summary>False when it has ended.</summary>
    public bool Signal(int signal)
    {
        if (_initProcess == 0) return false;
        // The first process of a pid namespace takes the others with it, at once; without one of its own each is ended.
        if (signal != Syscalls.SignalKill || !Spec.HostPid) return Syscalls.Signal(_initProcess, signal);
        foreach (var process in _cgroups.Processes(_cgroupPath)) Syscalls.Signal(process, Syscalls.SignalKill);
        return true;
    }

    /// <summary>The command line, on the machine, that runs <paramref name="command"/> inside the container with the container's rights and environment.</summary>
    /// <exception cref="InvalidOperationException">It has ended.</exception>
    public string[] Exec(IReadOnlyList<string> command, bool terminal = false)
    {
        if (_initProcess == 0) throw new InvalidOperationException($"container {Spec.Name} is not running");
        var words = terminal ? ContainerScript.RightsWords(Spec) + " TERM=xterm" : ContainerScript.RightsWords(Spec);
        // setsid inside, so that the program is the leader of the terminal's session in its own pid namespace.
        var inside = $"cd {Shell.Quote(Spec.WorkingDirectory)} 2>/dev/null; exec {(terminal ? "setsid --ctty --wait " : "")}{words} {Shell.Quote(command)}";
        var (namespaces, procs) = (Spec.HostPid ? "-m -n -u -i" : "-m -n -u -i -p", $"{_cgroups.Make(_cgroupPath)}/cgroup.procs");
        return ["sh", "-c", $"echo 0 > {procs}; exec nsenter -t {_initProcess} {namespaces} -- sh -c {Shell.Quote(inside)}"];
    }

    private async Task AwaitStartAsync(CancellationToken cancellationToken)
    {
        var first = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        var output = Log.CopyAsync(_process.StandardOutput.BaseStream, "stdout", line => first.TrySetResult(line), CancellationToken.None);
        var error = Log.CopyAsync(_process.StandardError.BaseStream, "stderr", null, CancellationToken.None);
        string line;
        try
        {
            line = await first.Task.WaitAsync(cancellationToken);
        }
        catch (OperationCanceledException)
        {
            ExecSession.KillTree(_process.Id);   // what is half made would outlive its pod
            await EndAsync(output, error);
            throw;
        }
        if (line == ContainerScript.Started)
        {
            StartedAt = _clock.GetUtcNow();
            _initProcess = FindInit();
            Exited = EndAsync(output, error);
            return;
        }
        await EndAsync(output, error);
        var reason = line.StartsWith(ContainerScript.Refused, StringComparison.Ordinal)
            ? line[ContainerScript.Refused.Length..]
            : $"the container could not be set up: {await LastWordsAsync()}";
        throw new ContainerStartException(
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: " +
            $"unable to start container process: {reason}");
    }

    private async Task<ContainerExit> EndAsync(Task output, Task error)
    {
        await _process.WaitForExitAsync();
        var exit = new ContainerExit(_process.ExitCode, _clock.GetUtcNow());
        _initProcess = 0;
        foreach (var left in _cgroups.Processes(_cgroupPath)) Syscalls.Signal(left, Syscalls.SignalKill);
        await Task.WhenAll(output, error);
        await Log.DisposeAsync();
        _process.Dispose();
        _cgroups.Remove(_cgroupPath);
        return exit;
    }

    private async Task<string> LastWordsAsync()
    {
        var words = "";
        await foreach (var line in Log.ReadAsync(follow: false)) words += (words.Length > 0 ? "; " : "") + line.Text.Trim();
        return words;
    }

    // The program is process 1 of its own pid namespace; in the node's pid namespace it is the only one there is at this moment.
    private int FindInit()
    {
        var processes = _cgroups.Processes(_cgroupPath);
        return processes.FirstOrDefault(IsFirstOfItsNamespace, processes.Count > 0 ? processes[0] : 0);
    }

    private static bool IsFirstOfItsNamespace(int process)
    {
        try
        {
            return File.ReadLines($"/proc/{process}/status").FirstOrDefault(l => l.StartsWith("NSpid:", StringComparison.Ordinal))?.EndsWith("\t1", StringComparison.Ordinal) == true;
        }
        catch (IOException)
        {
            return false;
        }
    }
}
