namespace AmbientMesh.Ztunnel.Connections;

/// <summary>The ports of the proxy inside a pod (L4 reference §2.1).</summary>
public static class ProxyPorts
{
    public const ushort Outbound = 15001;
    public const ushort InboundPlaintext = 15006;
    public const ushort Hbone = 15008;

    /// <summary>Whether a connection to this port would come back to the proxy itself.</summary>
    public static bool IsIllegal(int port) => port is Outbound or InboundPlaintext or Hbone;
}
