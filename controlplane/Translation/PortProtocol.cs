using AmbientMesh.Kubernetes;
using AmbientMesh.Protocol.Wds;

namespace AmbientMesh.ControlPlane.Translation;

/// <summary>The application protocol of a Service port: <c>appProtocol</c> when set, else the part of the port's name before the first dash.</summary>
internal static class PortProtocol
{
    private static readonly HashSet<int> ServerFirstPorts = [25, 53, 3306, 27017];   // SMTP, DNS, MySQL, MongoDB: known not to be HTTP

    public static AppProtocol Of(ServicePort port)
    {
        var declared = port.AppProtocol ?? port.Name ?? "";
        if (port.AppProtocol is not null && OfKubernetesName(declared) is { } standard) return standard;
        if (declared.StartsWith("grpc-web", StringComparison.OrdinalIgnoreCase)) return AppProtocol.Grpc;
        var known = OfPrefix(declared.Split('-', 2)[0]);
        return known == AppProtocol.Unknown && ServerFirstPorts.Contains(port.Port) ? AppProtocol.Tcp : known;
    }

    /// <summary>The mesh carries TCP; other transports of a Service are not its business.</summary>
    public static bool IsCarried(ServicePort port) => port.Protocol is null or "" or "TCP";

    private static AppProtocol? OfKubernetesName(string name) => name switch
    {
        "kubernetes.io/h2c" => AppProtocol.Http2,
        "kubernetes.io/ws" => AppProtocol.Http11,
        "kubernetes.io/wss" => AppProtocol.Tls,
        _ => null,
    };

    private static AppProtocol OfPrefix(string prefix) => prefix.ToLowerInvariant() switch
    {
        "http" => AppProtocol.Http11,
        "http2" => AppProtocol.Http2,
        "grpc" => AppProtocol.Grpc,
        "tcp" or "mongo" or "redis" or "mysql" => AppProtocol.Tcp,
        "tls" or "https" => AppProtocol.Tls,
        _ => AppProtocol.Unknown,
    };
}
