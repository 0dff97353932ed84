using System.Net;

namespace AmbientMesh.Model;

/// <summary>An address in the mesh: the network it belongs to (empty for the only one) and the IP. IPv4-mapped IPv6 is stored as IPv4.</summary>
public readonly record struct NetworkAddress
{
    public NetworkAddress(string network, IPAddress address)
    {
        Network = network;
        Address = address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
    }

    public string Network { get; }
    public IPAddress Address { get; }

    /// <summary><c>network/ip</c>, the form of xDS aliases and on-demand names.</summary>
    public override string ToString() => $"{Network}/{Address}";
}
