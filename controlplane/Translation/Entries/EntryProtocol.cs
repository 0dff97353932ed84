using AmbientMesh.Kubernetes;
using AmbientMesh.Protocol.Wds;

namespace AmbientMesh.ControlPlane.Translation.Entries;

/// <summary>The application protocol of a ServiceEntry port: its <c>protocol</c>. Other than with a Service its name says nothing, as in Istio.</summary>
internal static class EntryProtocol
{
    /// <summary>The mesh carries TCP; a UDP port is not its business.</summary>
    public static bool IsCarried(ServiceEntryPort port) => !string.Equals(port.Protocol, "UDP", StringComparison.OrdinalIgnoreCase);

    public static AppProtocol Of(ServiceEntryPort port) => port.Protocol?.ToUpperInvariant() switch
    {
        "HTTP" => AppProtocol.Http11,
        "HTTP2" => AppProtocol.Http2,
        "GRPC" => AppProtocol.Grpc,
        "TLS" or "HTTPS" => AppProtocol.Tls,
        "TCP" or "MONGO" or "REDIS" or "MYSQL" => AppProtocol.Tcp,
        _ => AppProtocol.Unknown,
    };
}
