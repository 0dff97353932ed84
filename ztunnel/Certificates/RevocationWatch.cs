using AmbientMesh.Identity;
using AmbientMesh.Telemetry;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Certificates;

/// <summary>Reads the revocation lists of a file and follows its changes (L4 reference §6.7).</summary>
/// <remarks>A list that cannot be read stops the start; later it leaves the last good one in force. A file that is missing or empty revokes nothing.</remarks>
public sealed class RevocationWatch(string path, TimeProvider clock, ILogger log)
{
    private static readonly TimeSpan Debounce = TimeSpan.FromSeconds(2);

    /// <summary>The lists as they are now.</summary>
    /// <exception cref="IOException">The content is no revocation list; the message names the file.</exception>
    public RevocationList Read()
    {
        try
        {
            return File.Exists(path) ? RevocationList.Parse(File.ReadAllBytes(path)) : RevocationList.None;
        }
        catch (Exception e) when (e is FormatException or UnauthorizedAccessException or System.Security.Cryptography.CryptographicException)
        {
            throw new IOException($"CRL_PATH: {path} cannot be used: {e.Message}", e);
        }
    }

    /// <summary>Tells every change of the folder, two seconds after it (mounted files change by renames of links), until cancelled.</summary>
    public async Task RunAsync(Func<RevocationList, Task> changed, CancellationToken cancellationToken)
    {
        var folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        if (!Directory.Exists(folder))
        {
            log.Write(LogLevel.Warning, $"the folder {folder} of CRL_PATH does not exist; changes are not followed");
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
            await ReloadAsync(changed);
        }
    }

    private async Task ReloadAsync(Func<RevocationList, Task> changed)
    {
        try
        {
            var revoked = Read();
            log.Write(LogLevel.Information, $"revocation list loaded from {path}: {revoked.Count} certificates are revoked");
            await changed(revoked);
        }
        catch (IOException e)
        {
            log.Write(LogLevel.Error, $"{e.Message}; the last good list stays in force");
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
