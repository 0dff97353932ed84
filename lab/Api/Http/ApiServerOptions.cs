using System.Net;
using System.Net.Sockets;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>Where the API server listens and what it calls itself.</summary>
public sealed record ApiServerOptions
{
    /// <summary>Addresses to listen on; port 0 takes a free one.</summary>
    public IReadOnlyList<IPEndPoint> Listen { get; init; } = [new IPEndPoint(IPAddress.Loopback, 0)];
    /// <summary>Address the <c>kubernetes</c> Service leads to; null for the first of <see cref="Listen"/>.</summary>
    public IPEndPoint? Advertise { get; init; }
    /// <summary>Where services get their addresses; the family of the first is that of services which do not ask for one.</summary>
    public IReadOnlyList<string> ServiceCidrs { get; init; } = ["10.96.0.0/16", "fd00:10:96::/112"];
    /// <summary>Names and addresses clients use besides the usual ones; they go into the serving certificate.</summary>
    public IReadOnlyList<string> ServingNames { get; init; } = [];
    /// <summary>Makes the bound listening socket, e.g. inside another network namespace; null for an ordinary one.</summary>
    public Func<EndPoint, Socket>? CreateListenSocket { get; init; }
    /// <summary>Time between bookmarks on a watch that asked for them.</summary>
    public TimeSpan BookmarkPeriod { get; init; } = TimeSpan.FromMinutes(1);
}
