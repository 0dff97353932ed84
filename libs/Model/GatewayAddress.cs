namespace AmbientMesh.Model;

/// <summary>Where a waypoint or network gateway is found, and its HBONE port. Exactly one case holds.</summary>
public abstract record GatewayAddress
{
    private GatewayAddress(ushort hbonePort) => HbonePort = hbonePort;

    public ushort HbonePort { get; }

    /// <summary>A service, or a workload with that hostname.</summary>
    public sealed record ByHostname(ServiceName Name, ushort Port) : GatewayAddress(Port)
    {
        public override string ToString() => Name.ToString();
    }

    /// <summary>A service's VIP or a workload's IP; it pins the IP family.</summary>
    public sealed record ByAddress(NetworkAddress Address, ushort Port) : GatewayAddress(Port)
    {
        public override string ToString() => Address.ToString();
    }
}
