using System.Net;
using System.Net.Security;

namespace AmbientMesh.Rpc;

/// <summary>How a channel reaches its server. Defaults are ztunnel's (reference 4.1).</summary>
public sealed record RpcChannelOptions
{
    /// <summary><c>https://host:port</c>, or <c>http://</c> for HTTP/2 without TLS (prior knowledge).</summary>
    public required Uri Address { get; init; }

    /// <summary>Gives the PEM of the trusted roots; asked at every new connection, so that a changed file counts from the next one. Null trusts the machine's store.</summary>
    public Func<string>? RootCertificates { get; init; }

    /// <summary>The name the server's certificate must carry, and the SNI; null takes the host of <see cref="Address"/>.</summary>
    public string? ServerName { get; init; }

    /// <summary>Shown to a server that asks for a client certificate; null shows none.</summary>
    public SslStreamCertificateContext? ClientCertificate { get; init; }

    /// <summary>Adds the metadata of a call, asked at every call: bearer token, cluster. Null adds none.</summary>
    public Func<CancellationToken, ValueTask<RpcMetadata>>? CallMetadata { get; init; }

    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>An HTTP/2 PING is sent when nothing came for this long while a call is open.</summary>
    public TimeSpan KeepAliveInterval { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>The connection is given up when a PING is not answered within this.</summary>
    public TimeSpan KeepAliveTimeout { get; init; } = TimeSpan.FromSeconds(10);

    public int MaxReceiveBytes { get; init; } = 200 * 1024 * 1024;
    public int StreamWindowBytes { get; init; } = 2 * 1024 * 1024;
    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>Opens the transport below TLS in another way than a plain TCP connect; null for that.</summary>
    public Func<DnsEndPoint, CancellationToken, ValueTask<Stream>>? Dial { get; init; }

    /// <summary>Every reason why these settings cannot be used; empty when they can.</summary>
    public IEnumerable<string> Problems()
    {
        if (Address.Scheme is not ("https" or "http")) yield return $"address {Address} must begin with https:// or http://";
        if (MaxReceiveBytes < 1) yield return $"MaxReceiveBytes is {MaxReceiveBytes}; it must be positive";
        if (StreamWindowBytes is < 65535 or > 16 * 1024 * 1024) yield return $"StreamWindowBytes is {StreamWindowBytes}; expected 65535 to 16777216";
    }
}
