using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;

namespace AmbientMesh.Hbone;

/// <summary>What a CONNECT asks for: an address or a host name, and a port from 1 to 65535. No user info, no zone, no scheme (RFC 9113 §8.5).</summary>
public sealed record HboneAuthority
{
    private const int MaxLength = 262;   // 253 for the name, brackets, colon and port

    private HboneAuthority(IPAddress? address, string host, int port)
    {
        Address = address;
        Host = host;
        Port = port;
    }

    /// <summary>The address when the host is a literal; null for a name.</summary>
    public IPAddress? Address { get; }

    /// <summary>The name, or the address without brackets.</summary>
    public string Host { get; }
    public int Port { get; }

    public static HboneAuthority Of(IPEndPoint endPoint) => new(endPoint.Address, endPoint.Address.ToString(), endPoint.Port);

    /// <summary>A host name, or an address literal, and a port.</summary>
    /// <exception cref="ArgumentException">The name has characters outside host names, or the port is out of range.</exception>
    public static HboneAuthority Of(string host, int port) =>
        TryParse($"{host}:{port}", out var authority) ? authority : throw new ArgumentException($"'{host}:{port}' is not a host name and port.", nameof(host));

    /// <summary><c>1.2.3.4:80</c>, <c>[::1]:80</c>, <c>name.ns.svc:80</c>.</summary>
    public override string ToString() => Address?.AddressFamily == AddressFamily.InterNetworkV6 ? $"[{Host}]:{Port}" : $"{Host}:{Port}";

    public static bool TryParse(string text, [NotNullWhen(true)] out HboneAuthority? authority)
    {
        authority = null;
        if (text.Length > MaxLength) return false;
        var colon = text.LastIndexOf(':');
        if (colon < 1 || !TryParsePort(text.AsSpan(colon + 1), out var port)) return false;
        var host = text[..colon];
        IPAddress? address = null;
        if (host.StartsWith('['))
        {
            if (!host.EndsWith(']') || host.Contains('%')) return false;
            host = host[1..^1];
            if (!host.Contains(':') || !IPAddress.TryParse(host, out address)) return false;
        }
        else if (!IsHostName(host)) return false;
        else if (IPAddress.TryParse(host, out var literal))
        {
            if (literal.ToString() != host) return false;   // 10.1 or 0x7f000001 are no addresses here
            address = literal;
        }
        authority = new HboneAuthority(address, address?.ToString() ?? host, port);
        return true;
    }

    private static bool TryParsePort(ReadOnlySpan<char> text, out int port)
    {
        port = 0;
        if (text.Length is 0 or > 5) return false;
        foreach (var c in text)
        {
            if (!char.IsAsciiDigit(c)) return false;
            port = (port * 10) + (c - '0');
        }
        return port is > 0 and <= 65535;
    }

    private static bool IsHostName(string host) => host.Length <= 253 && host.All(static c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-' or '_');
}
