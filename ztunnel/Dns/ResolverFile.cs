using System.Net;

namespace AmbientMesh.Ztunnel.Dns;

/// <summary>Reads which servers answer what the mesh does not know (<c>resolv.conf(5)</c>).</summary>
public static class ResolverFile
{
    /// <summary>As many as resolvers use; more are left out.</summary>
    public const int MaxServers = 3;

    private const int DnsPort = 53;

    /// <summary>The name servers, in order. Lines that are none of a usable address are passed over, as resolvers do.</summary>
    public static IReadOnlyList<IPEndPoint> NameServers(string text)
    {
        var servers = new List<IPEndPoint>();
        foreach (var line in text.Split('\n'))
        {
            var words = line.Split((char[])[' ', '\t', '\r'], StringSplitOptions.RemoveEmptyEntries);
            if (words is not ["nameserver", var address, ..] || !IPAddress.TryParse(address, out var server)) continue;
            var endPoint = new IPEndPoint(server, DnsPort);
            if (!servers.Contains(endPoint)) servers.Add(endPoint);
            if (servers.Count == MaxServers) break;
        }
        return servers;
    }
}
