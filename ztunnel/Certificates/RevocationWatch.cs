using AmbientMesh.Identity;
using AmbientMesh.Telemetry;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Certificates;

/// <summary>Reads the revocation lists of a file and follows its changes (L4 reference §6.7).</summary>
/// <remarks>A list that cannot be read stops the start; later it leaves the last good one in force. A file that is missing or empty revokes nothing.</remarks>
public sealed class RevocationWatch(string path, TimeProvider clock, ILogger log)
{
    /// <summary>A larger file is refused before memory is taken for it (T-26); a ConfigMap has 1 MiB at most.</summary>
    public const long MaxBytes = 16 * 1024 * 1024;

    private readonly FileWatch _watch = new(path, clock, log);   // before the first reading, so that nothing lies between the two

    /// <summary>The lists as they are now.</summary>
    /// <exception cref="IOException">The content is no revocation list, or larger than <see cref="MaxBytes"/>; the message names the file.</exception>
    public RevocationList Read()
    {
        try
        {
            var file = new FileInfo(path);
            if (!file.Exists) return RevocationList.None;
            using var content = file.OpenRead();
            if (content.Length > MaxBytes) throw new FormatException($"it has {content.Length} bytes, and no more than {MaxBytes} are read");
            var bytes = new byte[content.Length];
            content.ReadExactly(bytes);
            return RevocationList.Parse(bytes);
        }
        catch (Exception e) when (e is FormatException or UnauthorizedAccessException or System.Security.Cryptography.CryptographicException)
        {
            throw new IOException($"CRL_PATH: {path} cannot be used: {e.Message}", e);
        }
    }

    /// <summary>Tells every change until cancelled.</summary>
    public Task RunAsync(Func<RevocationList, Task> changed, CancellationToken cancellationToken) => _watch.RunAsync(() => ReloadAsync(changed), cancellationToken);

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
}
