using AmbientMesh.Identity;
using AmbientMesh.Telemetry;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Certificates;

/// <summary>Follows the roots of the mesh as they are mounted: when they change, every certificate is renewed, since the roots that peers are judged by come with
/// it. A rotation of roots so takes minutes and not half a certificate's life.</summary>
public sealed class RootWatch(string path, SvidStore svids, TimeProvider clock, ILogger log)
{
    private TrustBundle? _known;

    /// <summary>Follows the file until cancelled.</summary>
    public Task RunAsync(CancellationToken cancellationToken)
    {
        var watch = new FileWatch(path, clock, log);   // before the first reading, so that nothing lies between the two
        _known = Read();
        return watch.RunAsync(Look, cancellationToken);
    }

    private Task Look()
    {
        if (Read() is { } roots && !roots.Equals(_known))
        {
            _known = roots;
            log.Write(LogLevel.Information, $"the mesh's roots have changed ({path}): every certificate is renewed");
            svids.RenewAll();
        }
        return Task.CompletedTask;
    }

    private TrustBundle? Read()
    {
        try
        {
            return TrustBundle.Parse(File.ReadAllText(path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException)
        {
            log.Write(LogLevel.Warning, $"the roots in {path} cannot be read, those in use stay: {e.Message}");
            return null;
        }
    }
}
