using AmbientMesh.Lab.Nodes;

namespace AmbientMesh.Lab.Commands;

/// <summary>Removes what a lab has left: processes, cgroups, folder. Namespaces, mounts and rules end with the processes.</summary>
internal static class LabCleaning
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    /// <summary>Safe for a lab that never was, and for one whose daemon was killed.</summary>
    public static async Task RemoveAsync(LabPaths paths, CancellationToken cancellationToken)
    {
        if (LabState.Load(paths) is { } state)
        {
            await EndAsync([state.Daemon], Syscalls.SignalTerminate, cancellationToken);
            LabProcess[] holders = [.. state.Nodes.Select(n => n.Process), .. state.Fabric is { } fabric ? new[] { fabric } : []];
            await EndAsync(holders, Syscalls.SignalKill, cancellationToken);
            RemoveKubeconfig(state, paths);
        }
        await EmptyCgroupsAsync(paths.Name, cancellationToken);
        if (Directory.Exists(paths.Directory)) Directory.Delete(paths.Directory, recursive: true);
    }

    /// <summary>Signals, waits, and kills what is still there.</summary>
    private static async Task EndAsync(IReadOnlyList<LabProcess> processes, int signal, CancellationToken cancellationToken)
    {
        foreach (var process in processes.Where(p => p.IsAlive)) Syscalls.Signal(process.Pid, signal);
        if (await GoneAsync(processes, s_patience, cancellationToken)) return;
        foreach (var process in processes.Where(p => p.IsAlive)) Syscalls.Signal(process.Pid, Syscalls.SignalKill);
        await GoneAsync(processes, s_patience, cancellationToken);
    }

    private static async Task<bool> GoneAsync(IReadOnlyList<LabProcess> processes, TimeSpan limit, CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        for (var end = TimeProvider.System.GetUtcNow() + limit; processes.Any(p => p.IsAlive);)
            if (TimeProvider.System.GetUtcNow() > end || !await timer.WaitForNextTickAsync(cancellationToken)) return false;
        return true;
    }

    // A kubeconfig put where the user wanted it is of no use any more, if it is still ours.
    private static void RemoveKubeconfig(LabState state, LabPaths paths)
    {
        if (state.Kubeconfig == paths.Kubeconfig || !File.Exists(state.Kubeconfig)) return;
        if (File.ReadAllText(state.Kubeconfig).Contains(state.ApiServer, StringComparison.Ordinal)) File.Delete(state.Kubeconfig);
    }

    private static async Task EmptyCgroupsAsync(string name, CancellationToken cancellationToken)
    {
        if (Cgroups.TryOpen(name) is not { } cgroups) return;
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        for (var tries = 0; tries < 250; tries++)
        {
            foreach (var process in cgroups.AllProcesses()) Syscalls.Signal(process, Syscalls.SignalKill);
            if (cgroups.RemoveAll()) return;
            await timer.WaitForNextTickAsync(cancellationToken);
        }
    }
}
