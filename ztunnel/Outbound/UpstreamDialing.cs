using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using AmbientMesh.Hbone;
using AmbientMesh.Hbone.Hpack;
using AmbientMesh.Hbone.Http2;
using AmbientMesh.Model;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Certificates;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.InPod;
using AmbientMesh.Ztunnel.Reporting;

namespace AmbientMesh.Ztunnel.Outbound;

/// <summary>What became of dialling.</summary>
/// <param name="Upstream">Carries bytes; null when it could not be opened.</param>
/// <param name="Reason">Why not; null when it was opened.</param>
/// <param name="WasAnswered">The other end said something, if only no, and its word counts; or the fault is ours. No other endpoint is asked.</param>
internal readonly record struct DialResult(ITransport? Upstream, CloseReason? Reason, bool WasAnswered)
{
    public static DialResult Opened(ITransport upstream) => new(upstream, null, WasAnswered: true);
    public static DialResult Refused(CloseReason reason) => new(null, reason, WasAnswered: true);
    public static DialResult Unanswered(CloseReason reason) => new(null, reason, WasAnswered: false);
}

/// <summary>Opens what a decided route leads to: a socket of the pod, or a stream in one of its tunnels.</summary>
/// <param name="pool">The pod's tunnels.</param>
internal sealed class UpstreamDialing(PodContext pod, HbonePool pool)
{
    /// <summary>Dials a route that is neither refused nor still without an address.</summary>
    /// <exception cref="OperationCanceledException">Cancelled meanwhile.</exception>
    public Task<DialResult> DialAsync(OutboundRoute route, Workload client, IPEndPoint source, TraceContext trace, CancellationToken cancellationToken) => route switch
    {
        OutboundRoute.Plaintext plain => OpenPlainAsync(plain, cancellationToken),
        OutboundRoute.Hbone tunnel => OpenTunnelAsync(tunnel, client, source, trace, cancellationToken),
        _ => throw new UnreachableException(),
    };

    private async Task<DialResult> OpenPlainAsync(OutboundRoute.Plaintext plain, CancellationToken cancellationToken)
    {
        try
        {
            return DialResult.Opened(new SocketTransport(await pod.Sockets.ConnectAsync(plain.Destination, cancellationToken), isPrepared: true));
        }
        catch (Exception e) when (e is SocketException or IOException)
        {
            return Failed(e, CloseReason.PeerUnreachable(e, plain.Destination));
        }
    }

    private async Task<DialResult> OpenTunnelAsync(OutboundRoute.Hbone tunnel, Workload client, IPEndPoint source, TraceContext trace, CancellationToken cancellationToken)
    {
        HeaderField[] headers =
        [
            new(TunnelHeaders.BaggageName, Baggage.Write(client)),
            new(TunnelHeaders.ForwardedName, TunnelHeaders.Forwarded(source, tunnel.Service)),
            new(TunnelHeaders.TraceParentName, trace.Header),
        ];
        try
        {
            var key = new HbonePoolKey(client.Identity, tunnel.Identities, tunnel.NextHop, source.Address, tunnel.Peer.Uid);
            return ResultOf(await pool.ConnectAsync(key, tunnel.Authority, headers, cancellationToken), tunnel);
        }
        catch (IOException e)
        {
            if (e is TlsHandshakeException { IsRevoked: true }) pod.Services.Metrics.Revoked(Direction.Outbound);
            var reason = ReasonOf(e, tunnel, client);
            return e is TunnelConnectException ? Failed(e, reason) : DialResult.Refused(reason);
        }
    }

    // No byte of the application is on its way before the answer, so a request whose answer never came may be made to another.
    private static DialResult ResultOf(ConnectOutcome outcome, OutboundRoute.Hbone tunnel) => outcome switch
    {
        ConnectOutcome.Established established => DialResult.Opened(established.Stream),
        ConnectOutcome.Rejected rejected => DialResult.Refused(RefusalOf(rejected, tunnel)),
        ConnectOutcome.NotProcessed refused => DialResult.Unanswered(CloseReason.TunnelFailed(refused.Reason, Reason.StreamRefused)),
        ConnectOutcome.Failed { Error: ConnectionErrorException broken } => DialResult.Refused(CloseReason.Http2(broken.Message)),
        ConnectOutcome.Failed { Error: StreamResetException reset } => DialResult.Refused(CloseReason.TunnelFailed(reset.Message, Reason.StreamReset)),
        // In TLS 1.3 a server that refuses our certificate says so after the handshake.
        ConnectOutcome.Failed failed when Chain(failed.Error).Any(e => e is TlsRecordException) => DialResult.Refused(CloseReason.TunnelFailed(failed.Error.Message)),
        ConnectOutcome.Failed failed => DialResult.Unanswered(CloseReason.TunnelFailed(failed.Error.Message)),
        _ => throw new UnreachableException(),
    };

    // What this machine lacks (descriptors, ports) is no endpoint's silence.
    private static DialResult Failed(Exception failure, CloseReason reason) =>
        failure is TunnelConnectException { TimedOut: true } || Chain(failure).OfType<SocketException>().Any(e => IsOfTheOtherEnd(e.SocketErrorCode)) ? DialResult.Unanswered(reason) : DialResult.Refused(reason);

    private static bool IsOfTheOtherEnd(SocketError error) => error is SocketError.ConnectionRefused or SocketError.ConnectionReset or SocketError.TimedOut
        or SocketError.HostUnreachable or SocketError.HostDown or SocketError.NetworkUnreachable or SocketError.NetworkDown;

    private static IEnumerable<Exception> Chain(Exception? failure)
    {
        for (var e = failure; e is not null; e = e.InnerException) yield return e;
    }

    /// <summary>What the other end says of its refusal; a word it may only choose from ours.</summary>
    private static CloseReason RefusalOf(ConnectOutcome.Rejected rejected, OutboundRoute.Hbone tunnel) =>
        CloseReason.HttpStatus(rejected.Status, Decider.Of(tunnel.Peer), Reasons.Parse(rejected.Headers.FirstOrDefault(h => h.Name == TunnelHeaders.ReasonName).Value));

    /// <summary>Why a tunnel could not be opened.</summary>
    private static CloseReason ReasonOf(IOException failure, OutboundRoute.Hbone tunnel, Workload client) => failure switch
    {
        SvidUnavailableException => CloseReason.IdentityUnavailable(failure.Message, Decider.OfPeer(client.Identity) with { Kind = "Identity" }),
        TunnelConnectException { TimedOut: true } => CloseReason.HboneTimeout with { DecidedBy = new Decider("Address", tunnel.NextHop.ToString()) },
        TunnelConnectException => CloseReason.PeerUnreachable(failure, tunnel.NextHop),
        TlsHandshakeException { IsRevoked: true } => CloseReason.PeerRevoked(failure.Message, Decider.Of(tunnel.Peer)),
        TlsHandshakeException { PeerRefused: true } => CloseReason.PeerNotTrusted(failure.Message, Decider.Of(tunnel.Peer)),
        TlsHandshakeException => CloseReason.PeerHandshake(failure.Message, Decider.Of(tunnel.Peer)),
        _ => CloseReason.TunnelFailed(failure.Message),
    };
}
