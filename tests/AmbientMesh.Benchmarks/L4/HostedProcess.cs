using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using AmbientMesh.Linux;

namespace AmbientMesh.Benchmarks.L4;

/// <summary>A proxy running inside a network namespace. It is killed on disposal, and by the kernel when this process dies.</summary>
internal sealed class HostedProcess : IDisposable
{
    private const double TicksPerSecond = 100;   // USER_HZ

    // The kernel ends the child with the thread that started it, so that thread must last.
    private static readonly BlockingCollection<Action> Starts = StartThread();

    private readonly Process _process;
    private readonly string _log;

    private HostedProcess(Process process, string log)
    {
        _process = process;
        _log = log;
    }

    public bool HasExited => _process.HasExited;

    /// <summary>What it printed.</summary>
    public string Log => File.Exists(_log) ? File.ReadAllText(_log) : "";

    /// <summary>Starts <paramref name="command"/>; its output goes to <paramref name="log"/>.</summary>
    public static async Task<HostedProcess> StartAsync(NetworkNamespace inside, string log, IReadOnlyDictionary<string, string> environment, params string[] command)
    {
        var start = new ProcessStartInfo("nsenter") { UseShellExecute = false };
        string[] arguments = [$"--net={inside.Path}", "setpriv", "--pdeathsig", "KILL", "sh", "-c", "exec \"$@\" >\"$0\" 2>&1", log, .. command];
        foreach (var argument in arguments) start.ArgumentList.Add(argument);
        foreach (var name in start.Environment.Keys.Where(n => n.StartsWith("DOTNET_", StringComparison.Ordinal)).ToArray()) start.Environment.Remove(name);
        foreach (var (name, value) in environment) start.Environment[name] = value;
        var started = new TaskCompletionSource<Process>(TaskCreationOptions.RunContinuationsAsynchronously);
        Starts.Add(() =>
        {
            try
            {
                started.SetResult(Process.Start(start)!);
            }
            catch (Exception e) when (e is InvalidOperationException or System.ComponentModel.Win32Exception)
            {
                started.SetException(e);
            }
        });
        return new HostedProcess(await started.Task, log);
    }

    /// <summary>Processor time so far, user and system, all threads.</summary>
    public double CpuSeconds()
    {
        var fields = File.ReadAllText($"/proc/{_process.Id}/stat");
        var rest = fields[(fields.LastIndexOf(')') + 2)..].Split(' ');
        return (long.Parse(rest[11], CultureInfo.InvariantCulture) + long.Parse(rest[12], CultureInfo.InvariantCulture)) / TicksPerSecond;
    }

    /// <summary>Resident memory in bytes, without pages of files, which are shared.</summary>
    public (long Resident, long Anonymous) Memory()
    {
        long resident = 0, anonymous = 0;
        foreach (var line in File.ReadLines($"/proc/{_process.Id}/status"))
        {
            if (line.StartsWith("VmRSS:", StringComparison.Ordinal)) resident = KiloBytes(line);
            if (line.StartsWith("RssAnon:", StringComparison.Ordinal)) anonymous = KiloBytes(line);
        }
        return (resident, anonymous);
    }

    public void Dispose()
    {
        if (!_process.HasExited) _process.Kill();
        _process.WaitForExit();
        _process.Dispose();
    }

    private static long KiloBytes(string line) => long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) * 1024;

    private static BlockingCollection<Action> StartThread()
    {
        var work = new BlockingCollection<Action>();
        new Thread(() =>
        {
            foreach (var action in work.GetConsumingEnumerable()) action();
        })
        { IsBackground = true, Name = "process starter" }.Start();
        return work;
    }
}
