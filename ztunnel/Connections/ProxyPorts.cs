namespace AmbientMesh.Ztunnel.Connections;

/// <summary>The ports of the proxy inside a pod (L4 reference §2.1).</summary>
public static class ProxyPorts
{
    public const ushort Outbound = 15001;
    public const ushort InboundPlaintext = 15006;
    public const ushort Hbone = 15008;
    public const ushort Dns = 15053;
    public const ushort Socks5 = 15080;

    /// <summary>Whether a connection to this port would come back to the proxy itself.</summary>
    public static bool IsIllegal(int port) => port is Outbound or InboundPlaintext or Hbone or Socks5;

    /// <summary>Whether a port is none of the application's: what comes in may not be sent to the proxy's own services either, which listen on loopback.</summary>
    public static bool IsIllegalInbound(int port) => IsIllegal(port) || port is Dns;
}
