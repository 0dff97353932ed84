using Microsoft.Extensions.Logging;
using AmbientMesh.Telemetry;

namespace AmbientMesh.Ztunnel.Certificates;

/// <summary>Follows a mounted file. Mounted files change by renames of links, so the folder is watched; a change is told two seconds after it (L4 reference §6.2, §6.7).</summary>
public sealed class FileWatch(string path, TimeProvider clock, ILogger log)
{
    private static readonly TimeSpan Debounce = TimeSpan.FromSeconds(2);

    /// <summary>Tells every change of the folder until cancelled. Without the folder nothing is followed, which is told once.</summary>
    public async Task RunAsync(Func<Task> changed, CancellationToken cancellationToken)
    {
        var folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        if (!Directory.Exists(folder))
        {
            log.Write(LogLevel.Warning, $"the folder of {path} does not exist; changes are not followed");
            await Task.Delay(Timeout.InfiniteTimeSpan, clock, cancellationToken);
            return;
        }
        using var signal = new SemaphoreSlim(0, 1);
        using var watcher = new FileSystemWatcher(folder);
        FileSystemEventHandler wake = (_, _) => Wake(signal);
        watcher.Changed += wake;
        watcher.Created += wake;
        watcher.Deleted += wake;
        watcher.Renamed += (_, _) => Wake(signal);
        watcher.EnableRaisingEvents = true;
        while (true)
        {
            await signal.WaitAsync(cancellationToken);
            await Task.Delay(Debounce, clock, cancellationToken);
            await changed();
        }
    }

    private static void Wake(SemaphoreSlim signal)
    {
        try
        {
            if (signal.CurrentCount == 0) signal.Release();
        }
        catch (SemaphoreFullException)
        {
            // Two changes at once: one awakening serves both.
        }
    }
}
