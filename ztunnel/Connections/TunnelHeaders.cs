using System.Net;
using AmbientMesh.Model;

namespace AmbientMesh.Ztunnel.Connections;

/// <summary>The header values of a CONNECT besides its authority (L4 reference §3.2).</summary>
public static class TunnelHeaders
{
    public const string BaggageName = "baggage";
    public const string ForwardedName = "forwarded";
    public const string TraceParentName = "traceparent";
    public const string ForwardedNetworkName = "x-forwarded-network";

    /// <summary>On a refusal: the connection's id, under which the refusing side's log and admin page have it.</summary>
    public const string ConnectionIdName = "x-ambientmesh-connection-id";

    /// <summary>On a refusal: its reason's word. Policies are not named to strangers.</summary>
    public const string ReasonName = "x-ambientmesh-reason";

    /// <summary><c>for="ip:port"</c>, and <c>;host=name</c> when the service asked for is known.</summary>
    public static string Forwarded(IPEndPoint source, MeshService? service) =>
        service is null ? $"for=\"{source}\"" : $"for=\"{source}\";host={service.Hostname}";

    /// <summary>The <c>host</c> of a forwarded header; null without one.</summary>
    public static string? ForwardedHost(string? header)
    {
        foreach (var part in header?.Split(';') ?? [])
        {
            var trimmed = part.Trim();
            if (trimmed.StartsWith("host=", StringComparison.OrdinalIgnoreCase)) return trimmed[5..].Trim('"');
        }
        return null;
    }
}
