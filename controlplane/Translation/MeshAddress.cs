using System.Net;
using AmbientMesh.Protocol.Wds;

namespace AmbientMesh.ControlPlane.Translation;

/// <summary>One resource of type <c>istio.workload.Address</c> with what discovery needs to find it. Equal when the message is.</summary>
public sealed class MeshAddress : IEquatable<MeshAddress>
{
    private MeshAddress(string name, Address message, IReadOnlyList<string> aliases, IReadOnlyList<ObjectOrigin> origins)
    {
        Name = name;
        Message = message;
        Aliases = aliases;
        Origins = origins;
    }

    /// <summary>A workload's uid, or <c>namespace/hostname</c> of a service.</summary>
    public string Name { get; }

    /// <summary>Never changed once made.</summary>
    public Address Message { get; }

    /// <summary><c>network/ip</c> for each address, <c>network/ip/length</c> for a range; an on-demand client may ask for any of them. Not unique: several resources may share one.</summary>
    public IReadOnlyList<string> Aliases { get; }

    /// <summary>The objects that made it, the main one first. Not part of equality: a new generation that changes no message moves nothing.</summary>
    public IReadOnlyList<ObjectOrigin> Origins { get; }

    /// <summary>The node a workload runs on; empty for services and where unknown.</summary>
    public string Node => Message.Workload?.Node ?? "";

    /// <summary>Names of the services a workload belongs to; empty for a service.</summary>
    public IEnumerable<string> Services => Message.Workload?.Services.Keys ?? [];

    public static MeshAddress Of(Workload workload, params IReadOnlyList<ObjectOrigin> origins) => new(
        workload.Uid,
        new Address { Workload = workload },
        // Host-network addresses are not the workload's own (reference 4.6), so they do not lead to it.
        workload.NetworkMode == NetworkMode.HostNetwork ? [] : [.. workload.Addresses.Select(a => Alias(workload.Network, a.Span))],
        origins);

    public static MeshAddress Of(Service service, params IReadOnlyList<ObjectOrigin> origins) => new(
        $"{service.Namespace}/{service.Hostname}",
        new Address { Service = service },
        [.. service.Addresses.Select(a => Alias(a.Network, a.Address.Span) + (a.HasLength ? $"/{a.Length}" : ""))],
        origins);

    public bool Equals(MeshAddress? other) => other is not null && Message.Equals(other.Message);
    public override bool Equals(object? obj) => Equals(obj as MeshAddress);
    public override int GetHashCode() => Message.GetHashCode();
    public override string ToString() => Name;

    private static string Alias(string network, ReadOnlySpan<byte> address) => new Model.NetworkAddress(network, new IPAddress(address)).ToString();
}
