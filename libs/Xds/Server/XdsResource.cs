using System.Globalization;
using AmbientMesh.Protocol.Discovery;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;

namespace AmbientMesh.Xds;

/// <summary>One resource as it is served: a name, its marshalled body, and what else it is found by. Immutable.</summary>
public sealed class XdsResource
{
    private readonly ulong _hash;

    private XdsResource(Resource wire, ulong hash, IReadOnlyList<string> groups)
    {
        Wire = wire;
        _hash = hash;
        Groups = groups;
    }

    public string Name => Wire.Name;
    public string Version => Wire.Version;
    public IReadOnlyList<string> Aliases => Wire.Aliases;

    /// <summary>Sets it belongs to, see <see cref="ResourceGroups"/>; used by clients that subscribe on demand.</summary>
    public IReadOnlyList<string> Groups { get; }

    /// <summary>The message that goes out. Shared by every client: must not be changed.</summary>
    internal Resource Wire { get; }

    /// <summary>Marshals <paramref name="body"/>.</summary>
    /// <param name="versioned">True: the version is the hash of the bytes (Address). False: it stays empty, so the resource is always sent anew on reconnect (Authorization).</param>
    public static XdsResource Create(string typeUrl, string name, IMessage body, IReadOnlyList<string>? aliases = null, IReadOnlyList<string>? groups = null, bool versioned = true) =>
        FromBytes(typeUrl, name, body.ToByteString(), aliases, groups, versioned);

    /// <summary>The same for a body that is marshalled already.</summary>
    public static XdsResource FromBytes(string typeUrl, string name, ByteString bytes, IReadOnlyList<string>? aliases = null, IReadOnlyList<string>? groups = null, bool versioned = true)
    {
        var hash = XxHash64.Hash(bytes.Span);
        var wire = new Resource { Name = name, Resource_ = new Any { TypeUrl = typeUrl, Value = bytes } };
        if (versioned) wire.Version = hash.ToString("x16", CultureInfo.InvariantCulture);
        wire.Aliases.AddRange(aliases ?? []);
        return new XdsResource(wire, hash, groups ?? []);
    }

    /// <summary>True when sending the other instead would tell a client nothing new.</summary>
    public bool IsSameAs(XdsResource other) =>
        _hash == other._hash && Wire.Resource_.Value.Equals(other.Wire.Resource_.Value) && Aliases.SequenceEqual(other.Aliases) && Groups.SequenceEqual(other.Groups);

    /// <summary>The same body under the name a client asked by.</summary>
    internal Resource Named(string name)
    {
        if (name == Name) return Wire;
        var copy = new Resource { Name = name, Version = Version, Resource_ = Wire.Resource_ };
        copy.Aliases.AddRange(Aliases);
        return copy;
    }
}

/// <summary>Names of the sets resources belong to.</summary>
public static class ResourceGroups
{
    /// <summary>Workloads on a node; sent unasked to that node's ztunnel in on-demand mode.</summary>
    public static string OfNode(string node) => $"node/{node}";

    /// <summary>What comes along with the resource of that name: the workloads of a service.</summary>
    public static string Of(string resourceName) => $"of/{resourceName}";
}
