using System.Net;
using System.Security.Cryptography;
using AmbientMesh.Model;

namespace AmbientMesh.Ztunnel.Connections;

/// <summary>The header values of a CONNECT besides its authority (L4 reference §3.2).</summary>
public static class TunnelHeaders
{
    public const string BaggageName = "baggage";
    public const string ForwardedName = "forwarded";
    public const string TraceParentName = "traceparent";
    public const string ForwardedNetworkName = "x-forwarded-network";

    private const int TraceParentLength = 55;

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

    /// <summary>A new random trace context; the flags say "not sampled".</summary>
    public static string NewTraceParent() =>
        $"00-{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16))}-{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8))}-00";

    /// <summary>The peer's trace context when it is well-formed, else null. Source: W3C Trace Context §3.2.</summary>
    public static string? ValidTraceParent(string? header)
    {
        if (header is not { Length: TraceParentLength } || header.Split('-') is not [{ Length: 2 } version, { Length: 32 } trace, { Length: 16 } span, { Length: 2 } flags]) return null;
        return IsHex(version) && IsHex(trace) && IsHex(span) && IsHex(flags) ? header : null;
    }

    private static bool IsHex(string text) => text.All(char.IsAsciiHexDigitLower);
}
