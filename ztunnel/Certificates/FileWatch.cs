using System.Security.Cryptography;
using AmbientMesh.Telemetry;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Certificates;

/// <summary>Follows a mounted file. Mounted files change by renames of links, so the folder is watched; a change is told two seconds after it (L4 reference §6.2, §6.7).</summary>
/// <remarks>
/// The kernel may have no watch to give (fs.inotify limits, shared by the node), may lose changes, or end a watch: the file is therefore also read every minute, and every ten
/// seconds while it is not watched. What is told is always that its content is another than before; whatever goes wrong with that is logged and ends nothing.
/// </remarks>
public sealed class FileWatch
{
    private static readonly TimeSpan Debounce = TimeSpan.FromSeconds(2);

    /// <summary>Between two looks at a file that is watched.</summary>
    public static readonly TimeSpan LookAgain = TimeSpan.FromMinutes(1);

    /// <summary>Between two looks at a file that is not watched.</summary>
    public static readonly TimeSpan LookUnwatched = TimeSpan.FromSeconds(10);

    private readonly string _path;
    private readonly TimeProvider _clock;
    private readonly ILogger _log;
    private readonly Func<string, FileSystemWatcher> _open;
    private string? _seen;
    private bool _unwatchedTold;
    private volatile bool _watchFailed;

    /// <summary>Takes the content the file has now for known.</summary>
    public FileWatch(string path, TimeProvider clock, ILogger log) : this(path, clock, log, static folder => new FileSystemWatcher(folder))
    {
    }

    /// <param name="open">Makes the watcher of a folder, not yet begun.</param>
    internal FileWatch(string path, TimeProvider clock, ILogger log, Func<string, FileSystemWatcher> open)
    {
        (_path, _clock, _log, _open) = (Path.GetFullPath(path), clock, log, open);
        _seen = Content();
    }

    /// <summary>Tells every change of the content until cancelled.</summary>
    public async Task RunAsync(Func<Task> changed, CancellationToken cancellationToken)
    {
        using var signal = new SemaphoreSlim(0, 1);
        FileSystemWatcher? watcher = null;
        try
        {
            while (true)
            {
                if (_watchFailed)
                {
                    watcher?.Dispose();
                    watcher = null;
                }
                watcher ??= TryWatch(signal);
                await LookAsync(changed);   // also at the beginning, and after a watch has begun: what happened before it was not told
                if (await SignalledAsync(signal, watcher is null ? LookUnwatched : LookAgain, cancellationToken)) await Task.Delay(Debounce, _clock, cancellationToken);
            }
        }
        finally
        {
            watcher?.Dispose();
        }
    }

    private async Task LookAsync(Func<Task> changed)
    {
        var now = Content();
        if (now == _seen) return;
        _seen = now;
        try
        {
            await changed();
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            _log.LogError(e, "a change of {Path} could not be followed; what was in force stays", _path);
        }
    }

    /// <summary>A digest of the content; null when the file is absent, the reason when it cannot be read.</summary>
    private string? Content()
    {
        try
        {
            using var file = File.OpenRead(_path);
            return Convert.ToHexString(SHA256.HashData(file));
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return e.Message;
        }
    }

    private FileSystemWatcher? TryWatch(SemaphoreSlim signal)
    {
        FileSystemWatcher? watcher = null;
        try
        {
            _watchFailed = false;
            watcher = _open(Path.GetDirectoryName(_path)!);
            FileSystemEventHandler wake = (_, _) => Wake(signal);
            watcher.Changed += wake;
            watcher.Created += wake;
            watcher.Deleted += wake;
            watcher.Renamed += (_, _) => Wake(signal);
            watcher.Error += (_, _) =>
            {
                _watchFailed = true;
                Wake(signal);
            };
            watcher.EnableRaisingEvents = true;
            if (_unwatchedTold) _log.Write(LogLevel.Information, $"{_path} is watched again");
            _unwatchedTold = false;
            return watcher;
        }
        catch (Exception e) when (e is IOException or ArgumentException or UnauthorizedAccessException)
        {
            watcher?.Dispose();
            if (!_unwatchedTold) _log.Write(LogLevel.Warning, $"{_path} cannot be watched and is read every {LookUnwatched.TotalSeconds} s instead: {e.Message}");
            _unwatchedTold = true;
            return null;
        }
    }

    /// <summary>Whether it was signalled within the time.</summary>
    private async Task<bool> SignalledAsync(SemaphoreSlim signal, TimeSpan time, CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(time, _clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            await signal.WaitAsync(either.Token);
            return true;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return false;
        }
    }

    private static void Wake(SemaphoreSlim signal)
    {
        try
        {
            if (signal.CurrentCount == 0) signal.Release();
        }
        catch (Exception e) when (e is SemaphoreFullException or ObjectDisposedException)
        {
            // Two changes at once: one awakening serves both. Or nobody follows any more.
        }
    }
}
