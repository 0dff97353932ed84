using System.Net;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace AmbientMesh.Rpc;

/// <summary>What a handler knows of its caller.</summary>
public sealed class RpcServerContext
{
    internal RpcServerContext(HttpContext http, DateTimeOffset? deadline, CancellationToken cancellationToken)
    {
        Http = http;
        Deadline = deadline;
        CancellationToken = cancellationToken;
        foreach (var (key, values) in http.Request.Headers)
            foreach (var value in values) Metadata.AddReceived(key.ToLowerInvariant(), value ?? "");
    }

    /// <summary>The request's headers.</summary>
    public RpcMetadata Metadata { get; } = [];

    /// <summary>Sent with the status.</summary>
    public RpcMetadata Trailers { get; } = [];

    /// <summary>What was noted of the connection, shared by all its calls.</summary>
    public IDictionary<object, object?> ConnectionItems => Http.Features.GetRequiredFeature<IConnectionItemsFeature>().Items;

    /// <summary>The client's certificate as TLS accepted it; null when it sent none.</summary>
    public X509Certificate2? PeerCertificate => Http.Connection.ClientCertificate;

    public IPEndPoint? PeerAddress => Http.Connection.RemoteIpAddress is { } address ? new IPEndPoint(address, Http.Connection.RemotePort) : null;

    /// <summary>Changes with the connection; several calls may share one.</summary>
    public string ConnectionId => Http.Connection.Id;

    /// <summary>When the caller gives up; null when it never does.</summary>
    public DateTimeOffset? Deadline { get; }

    /// <summary>Cancelled when the caller resets the call, its connection is lost, the deadline passes or the server stops.</summary>
    public CancellationToken CancellationToken { get; }

    /// <summary>The HTTP request underneath.</summary>
    public HttpContext Http { get; }
}
