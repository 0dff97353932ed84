using System.Net;
using System.Net.Sockets;
using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;

namespace AmbientMesh.Ztunnel.Connections;

/// <summary>Why a connection ended other than by both ends finishing: the reason, the text of L4 reference §10.7, and the object that decided.</summary>
/// <param name="Text">Field <c>error</c> of the access log.</param>
/// <param name="DecidedBy">Null where nothing but the fact itself decided.</param>
public sealed record CloseReason(Reason Reason, string Text, Decider? DecidedBy = null)
{
    /// <summary>Value of the metric label <c>response_flags</c>.</summary>
    public string ResponseFlags { get; init; } = Reason.ResponseFlags();

    public override string ToString() => Text;

    public static CloseReason Drain { get; } = new(Reason.Drain, "connection closed due to connection drain");
    public static CloseReason DrainTimeout { get; } = new(Reason.DrainTimeout, "connection failed to drain within the timeout");
    public static CloseReason CertificateRevoked(SpiffeId? peer) => new(Reason.CertificateRevoked, "connection closed: peer certificate revoked by CRL", peer is { } id ? Decider.OfPeer(id) : null);

    // Where to go.
    public static CloseReason SelfCall(IPEndPoint asked) => new(Reason.SelfCall, "attempted recursive call to ourselves", new Decider("Address", asked.ToString()));
    public static CloseReason LocalWorkloadUnknown(WorkloadInfo pod) => new(Reason.UnknownSource, $"failed to fetch information about local workload: {pod}", Decider.Of(pod));
    public static CloseReason UnknownWaypoint(string waypoint, Decider user) => new(Reason.UnknownWaypoint, $"unknown waypoint: waypoint {waypoint} not found", user with { Detail = $"waypoint {waypoint}" });
    public static CloseReason UnknownNetworkGateway(string gateway, Workload remote) =>
        new(Reason.UnknownGateway, $"unknown network gateway: network gateway {gateway} not found", Decider.Of(remote) with { Detail = $"network gateway {gateway}" });
    public static CloseReason NoRoute(Workload workload) => new(Reason.NoRoute, $"no valid routing destination for workload: {workload.Name}", Decider.Of(workload));
    public static CloseReason NoHealthyUpstream(IPEndPoint address, MeshService? service = null) => new(Reason.NoHealthyUpstream, $"no healthy upstream: {address}", service is null ? null : Decider.Of(service));
    public static CloseReason NoAddress(Workload workload) => new(Reason.NoAddress, $"no ip addresses were resolved for workload {workload.Name}", Decider.Of(workload));
    public static CloseReason NameUnresolved(Workload workload, string hostname, string why) => new(Reason.NameUnresolved,
        $"no ip addresses were resolved for workload {workload.Name}: {hostname}: {why}", Decider.Of(workload) with { Detail = $"hostname {hostname}" });
    public static CloseReason NameUnresolved(string hostname, string why) => new(Reason.NameUnresolved, $"no ip addresses were resolved for {hostname}: {why}", new Decider("Address", hostname));
    public static CloseReason RemoteNetwork(Workload workload) => new(Reason.RemoteNetwork,
        $"no valid routing destination for workload: {workload.Name} is on network {workload.Network}, and tunnels through network gateways are not carried yet", Decider.Of(workload));

    // Who may come in.
    public static CloseReason Policy(AuthorizationVerdict verdict, Decider? decider) =>
        new(verdict is AuthorizationVerdict.NotAllowed ? Reason.PolicyNotAllowed : Reason.PolicyDenied, $"connection closed due to policy rejection: {verdict}", decider);
    public static CloseReason PolicyChange(Decider? decider) => new(Reason.PolicyChanged, "connection closed due to policy change", decider);
    public static CloseReason BadRequest(string problem) => new(Reason.BadRequest, problem);
    public static CloseReason BadSocks(string problem) => new(Reason.BadRequest, $"invalid SOCKS5 request: {problem}");
    public static CloseReason AddressMismatch(IPAddress local, IPAddress asked) => new(Reason.AddressMismatch, $"ip mismatch: {local} != {asked}", new Decider("Address", asked.ToString()));
    public static CloseReason UnknownHostname(string hostname) => new(Reason.UnknownHostname, $"no service or workload for hostname: {hostname}", new Decider("Address", hostname));
    public static CloseReason ForeignHostname(Workload local, string hostname) =>
        new(Reason.UnknownHostname, $"{hostname} is no service of workload {local.Name}", Decider.Of(local) with { Detail = $"hostname {hostname}" });
    public static CloseReason WaypointBypassed(Workload local, string waypoint) =>
        new(Reason.PolicyNotAllowed, $"traffic must come through the waypoint {waypoint}", Decider.Of(local) with { Detail = $"waypoint {waypoint}" });
    public static CloseReason TooManyFrom(IPAddress source, string what) => new(Reason.LimitReached, $"too many {what} from {source}", new Decider("Address", source.ToString()));
    public static CloseReason UnresolvedPort(MeshService service, string hostname, int port) =>
        new(Reason.UnresolvedPort, $"requested service {hostname}:{port} found, but cannot resolve port", Decider.Of(service) with { Detail = $"port {port}" });

    // Trust.
    public static CloseReason IdentityUnavailable(string why, Decider? identity = null) => new(Reason.IdentityUnavailable, $"identity error: {why}", identity);
    public static CloseReason PeerNotTrusted(string why, Decider? expected = null) => new(Reason.PeerNotTrusted, $"io error: {why}", expected);

    /// <summary>Refused in our handshake with it; Istio's flag for those is that of any failed handshake.</summary>
    public static CloseReason PeerRevoked(string why, Decider? peer = null) => new(Reason.CertificateRevoked, $"io error: {why}", peer) { ResponseFlags = "CONNECT" };

    /// <summary>An outbound handshake that failed for another reason than the peer's certificate.</summary>
    public static CloseReason PeerHandshake(string why, Decider? peer = null) => new(Reason.TlsHandshake, $"io error: {why}", peer) { ResponseFlags = "CONNECT" };
    public static CloseReason TlsHandshake(string why, Reason reason = Reason.TlsHandshake) => new(reason, $"tls handshake error: {why}");

    // The tunnel and its other end.
    public static CloseReason HboneTimeout { get; } =
        new(Reason.HboneTimeout, "connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008: deadline has elapsed");
    public static CloseReason Http2(string why) => new(Reason.Http2Error, $"http2 handshake failed: {why}");
    public static CloseReason TunnelFailed(string why, Reason reason = Reason.TunnelFailed) => new(reason, $"h2 failed: {why}");

    /// <summary>The peer's status; <paramref name="peerReason"/> is its own reason when it told one.</summary>
    public static CloseReason HttpStatus(int status, Decider? peer = null, Reason? peerReason = null) => new(
        status == 401 ? Reason.DeniedByPeer : Reason.RefusedByPeer, $"http status: {status}{ReasonPhrase(status)}",
        peer is not null && peerReason is { } known ? peer with { Detail = $"reason {known.Word()}" } : peer);

    // Sockets and bytes.
    public static CloseReason ApplicationUnreachable(Exception why, IPEndPoint? application = null) => new(OfSocket(why), $"connection failed: {Describe(why)}", OfAddress(application));
    public static CloseReason PeerUnreachable(Exception why, IPEndPoint? peer = null) => new(OfSocket(why), $"io error: {Describe(why)}", OfAddress(peer));
    public static CloseReason Silent(IPEndPoint peer, bool speaksHbone, TimeSpan waited) => speaksHbone
        ? new(Reason.HboneTimeout, $"connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008: no answer within {waited.TotalSeconds} s", OfAddress(peer))
        : new(Reason.ConnectTimeout, $"io error: no answer within {waited.TotalSeconds} s", OfAddress(peer));
    public static CloseReason CopyFailed(string direction, string why, Reason reason = Reason.TransferFailed) => new(reason, $"while closing connection: {direction}: io error: {why}");
    public static CloseReason Internal(Exception why) => new(Reason.InternalError, $"internal error: {why.GetType().Name}: {why.Message}");

    /// <summary>As the kernel says it: <c>Connection refused (os error 111)</c>.</summary>
    public static string Describe(Exception failure) =>
        Socket(failure) is { } socket ? $"{socket.Message} (os error {socket.NativeErrorCode})" : failure.Message;

    private static Decider? OfAddress(IPEndPoint? address) => address is null ? null : new Decider("Address", address.ToString());

    private static Reason OfSocket(Exception failure) => Socket(failure)?.SocketErrorCode switch
    {
        SocketError.ConnectionRefused => Reason.ConnectRefused,
        SocketError.TimedOut => Reason.ConnectTimeout,
        SocketError.HostUnreachable or SocketError.NetworkUnreachable or SocketError.HostDown or SocketError.NetworkDown => Reason.Unreachable,
        SocketError.TooManyOpenSockets => Reason.NoDescriptors,
        SocketError.NoBufferSpaceAvailable => Reason.LimitReached,
        _ => Reason.ConnectFailed,
    };

    private static SocketException? Socket(Exception failure)
    {
        for (var e = failure; e is not null; e = e.InnerException)
            if (e is SocketException socket) return socket;
        return null;
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
