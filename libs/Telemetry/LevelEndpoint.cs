using System.Net;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Telemetry;

/// <summary>Log level at run time for parts without an admin port of their own: <c>POST /logging</c> on loopback port 9876, where Istio has its introspection.</summary>
public static class LevelEndpoint
{
    public const int DefaultPort = 9876;

    /// <summary>Serves on 127.0.0.1; null, and a warning, when the port is taken: nothing depends on it.</summary>
    public static HttpEndpoint? TryStart(LogFilter filter, ILogger log, TimeProvider clock, int port = DefaultPort)
    {
        try
        {
            return HttpEndpoint.Start("log level", [new IPEndPoint(IPAddress.Loopback, port)],
                (request, _) => ValueTask.FromResult(request.Path == "/logging" ? StandardEndpoints.Logging(request, filter) : HttpEndpointResponse.NotFound), log, clock);
        }
        catch (IOException e)
        {
            log.LogWarning("the log level cannot be changed at run time: {Reason}", e.Message);
            return null;
        }
    }
}
