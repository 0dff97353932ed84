using System.Net;
using System.Net.Sockets;
using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;

namespace AmbientMesh.Ztunnel.Connections;

/// <summary>Why a connection ended other than by both ends finishing. A closed set: log, metric and admin page show the same.</summary>
public enum CloseCode
{
    SelfCall,
    LocalWorkloadUnknown,
    UnknownWaypoint,
    UnknownNetworkGateway,
    NoRoute,
    NoHealthyUpstream,
    NoAddress,
    RemoteNetwork,
    PolicyRejection,
    PolicyChange,
    Drain,
    ConnectFailed,
    ConnectTimeout,
    HttpStatus,
    PeerNotTrusted,
    TlsHandshake,
    Http2Handshake,
    IdentityUnavailable,
    CertificateRevoked,
    TunnelFailed,
    CopyFailed,
    BadRequest,
    AddressMismatch,
    UnknownHostname,
    UnresolvedPort,
}

/// <summary>A code and the text of L4 reference §10.7 for this connection.</summary>
public sealed record CloseReason(CloseCode Code, string Text)
{
    /// <summary>Value of the metric label <c>response_flags</c>.</summary>
    public string ResponseFlags => Code switch
    {
        CloseCode.PolicyRejection or CloseCode.PolicyChange => "DENY",
        CloseCode.ConnectTimeout => "NETWORK_POLICY",
        CloseCode.TlsHandshake => "TLS_FAILURE",
        CloseCode.Http2Handshake => "H2_HANDSHAKE_FAILURE",
        CloseCode.IdentityUnavailable => "IDENTITY_ERROR",
        CloseCode.CertificateRevoked => "CERT_REVOKED",
        CloseCode.Drain => "-",
        _ => "CONNECT",
    };

    public override string ToString() => Text;

    public static CloseReason SelfCall { get; } = new(CloseCode.SelfCall, "attempted recursive call to ourselves");
    public static CloseReason PolicyChange { get; } = new(CloseCode.PolicyChange, "connection closed due to policy change");
    public static CloseReason Drain { get; } = new(CloseCode.Drain, "connection closed due to connection drain");
    public static CloseReason DrainTimeout { get; } = new(CloseCode.Drain, "connection failed to drain within the timeout");

    public static CloseReason CertificateRevoked { get; } = new(CloseCode.CertificateRevoked, "connection closed: peer certificate revoked by CRL");

    public static CloseReason LocalWorkloadUnknown(WorkloadInfo pod) => new(CloseCode.LocalWorkloadUnknown, $"failed to fetch information about local workload: {pod}");
    public static CloseReason UnknownWaypoint(string detail) => new(CloseCode.UnknownWaypoint, $"unknown waypoint: waypoint {detail}");
    public static CloseReason UnknownNetworkGateway(string detail) => new(CloseCode.UnknownNetworkGateway, $"unknown network gateway: network gateway {detail}");
    public static CloseReason NoRoute(Workload workload) => new(CloseCode.NoRoute, $"no valid routing destination for workload: {workload.Name}");
    public static CloseReason NoHealthyUpstream(IPEndPoint address) => new(CloseCode.NoHealthyUpstream, $"no healthy upstream: {address}");
    public static CloseReason NoAddress(Workload workload) => new(CloseCode.NoAddress, $"no ip addresses were resolved for workload {workload.Name}");
    public static CloseReason RemoteNetwork(Workload workload) =>
        new(CloseCode.RemoteNetwork, $"no valid routing destination for workload: {workload.Name} is on network {workload.Network}, and tunnels through network gateways are not carried yet");
    public static CloseReason Policy(AuthorizationVerdict verdict) => new(CloseCode.PolicyRejection, $"connection closed due to policy rejection: {verdict}");
    public static CloseReason HttpStatus(int status) => new(CloseCode.HttpStatus, $"http status: {status}{ReasonPhrase(status)}");
    public static CloseReason PeerNotTrusted(string why) => new(CloseCode.PeerNotTrusted, $"io error: {why}");
    public static CloseReason TlsHandshake(string why) => new(CloseCode.TlsHandshake, $"tls handshake error: {why}");
    public static CloseReason Http2Handshake(string why) => new(CloseCode.Http2Handshake, $"http2 handshake failed: {why}");
    public static CloseReason IdentityUnavailable(string why) => new(CloseCode.IdentityUnavailable, $"identity error: {why}");
    public static CloseReason TunnelFailed(string why) => new(CloseCode.TunnelFailed, $"h2 failed: {why}");
    public static CloseReason CopyFailed(string direction, string why) => new(CloseCode.CopyFailed, $"while closing connection: {direction}: io error: {why}");
    public static CloseReason ApplicationUnreachable(Exception why) => new(CloseCode.ConnectFailed, $"connection failed: {Describe(why)}");
    public static CloseReason PeerUnreachable(Exception why) => new(CloseCode.ConnectFailed, $"io error: {Describe(why)}");
    public static CloseReason HboneTimeout { get; } =
        new(CloseCode.ConnectTimeout, "connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008: deadline has elapsed");
    public static CloseReason BadRequest(string problem) => new(CloseCode.BadRequest, problem);
    public static CloseReason AddressMismatch(IPAddress local, IPAddress asked) => new(CloseCode.AddressMismatch, $"ip mismatch: {local} != {asked}");
    public static CloseReason UnknownHostname(string hostname) => new(CloseCode.UnknownHostname, $"no service or workload for hostname: {hostname}");
    public static CloseReason UnresolvedPort(string hostname, int port) => new(CloseCode.UnresolvedPort, $"requested service {hostname}:{port} found, but cannot resolve port");

    /// <summary>As the kernel says it: <c>Connection refused (os error 111)</c>.</summary>
    public static string Describe(Exception failure)
    {
        for (var e = failure; e is not null; e = e.InnerException)
            if (e is SocketException socket) return $"{socket.Message} (os error {socket.NativeErrorCode})";
        return failure.Message;
    }

    private static string ReasonPhrase(int status) => status switch
    {
        400 => " Bad Request",
        401 => " Unauthorized",
        404 => " Not Found",
        500 => " Internal Server Error",
        502 => " Bad Gateway",
        503 => " Service Unavailable",
        504 => " Gateway Timeout",
        _ => "",
    };
}
