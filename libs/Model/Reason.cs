using System.Collections.Frozen;

namespace AmbientMesh.Model;

/// <summary>Why a connection was refused, failed, or was ended before both sides were done. A closed set: access log, metric, admin page and
/// <c>meshctl explain</c> show the same <see cref="Reasons.Word"/>; docs/observe.md lists what to do about each.</summary>
/// <remarks>A connection carries exactly one. The words are part of what users rely on: they are added to, never changed.</remarks>
public enum Reason
{
    // Refused while deciding where an outbound connection goes.

    /// <summary>It would lead back into the proxy: one of the proxy's own ports was asked for.</summary>
    SelfCall,
    /// <summary>The pod's own workload did not come from the control plane within 5 s.</summary>
    UnknownSource,
    /// <summary>The waypoint that must be used does not exist or has no address.</summary>
    UnknownWaypoint,
    /// <summary>The gateway of the destination's network does not exist.</summary>
    UnknownGateway,
    /// <summary>The destination is on another network and nothing says how to get there.</summary>
    NoRoute,
    /// <summary>The destination is on another network, and this proxy does not carry tunnels through gateways.</summary>
    RemoteNetwork,
    /// <summary>The service has no endpoint that may be used for this port.</summary>
    NoHealthyUpstream,
    /// <summary>The chosen workload has no address that can be dialled.</summary>
    NoAddress,
    /// <summary>The destination's host name could not be resolved.</summary>
    NameUnresolved,

    // The next hop could not be reached.

    /// <summary>Nobody listens on the port.</summary>
    ConnectRefused,
    /// <summary>No answer to the TCP connect, other than to port 15008.</summary>
    ConnectTimeout,
    /// <summary>No answer to the TCP connect to port 15008; often a NetworkPolicy that does not allow it.</summary>
    HboneTimeout,
    /// <summary>The network says that the address cannot be reached.</summary>
    Unreachable,
    /// <summary>The connect failed otherwise.</summary>
    ConnectFailed,
    /// <summary>The process has no file descriptors left.</summary>
    NoDescriptors,

    // Trust.

    /// <summary>The pod's own certificate cannot be had from the certificate authority.</summary>
    IdentityUnavailable,
    /// <summary>The peer's certificate is not one that may be accepted here: other identity, other root, expired.</summary>
    PeerNotTrusted,
    /// <summary>A certificate of the peer is on the revocation list.</summary>
    CertificateRevoked,
    /// <summary>The TLS handshake failed otherwise: not TLS 1.3, no certificate, garbage, too slow.</summary>
    TlsHandshake,

    // The tunnel.

    /// <summary>The peer does not speak HTTP/2 as it must.</summary>
    Http2Error,
    /// <summary>The peer takes no more streams: its limit, or it is going away.</summary>
    StreamRefused,
    /// <summary>The tunnel broke before the connection was answered.</summary>
    TunnelFailed,
    /// <summary>The peer's policy does not allow it (401).</summary>
    DeniedByPeer,
    /// <summary>The peer answered with an error status other than 401; its own log has the reason under the same connection id.</summary>
    RefusedByPeer,

    // Refused at the destination.

    /// <summary>The request is no CONNECT to an address or host name and port.</summary>
    BadRequest,
    /// <summary>The address asked for is not this pod's, nor one this pod is the waypoint of.</summary>
    AddressMismatch,
    /// <summary>The host name asked for is no service of this pod.</summary>
    UnknownHostname,
    /// <summary>The service is known, its port leads nowhere at this pod.</summary>
    UnresolvedPort,
    /// <summary>A policy with action DENY matched.</summary>
    PolicyDenied,
    /// <summary>Policies with action ALLOW exist and none matched.</summary>
    PolicyNotAllowed,
    /// <summary>It was open, and a change of policy no longer allows it.</summary>
    PolicyChanged,

    // Ended while carrying bytes.

    /// <summary>The pod left the mesh, or the proxy stops: connections are closed.</summary>
    Drain,
    /// <summary>The proxy stops, and the connection was still open at the deadline.</summary>
    DrainTimeout,
    /// <summary>The peer's side reset the stream.</summary>
    StreamReset,
    /// <summary>The tunnel that carried it ended.</summary>
    TunnelLost,
    /// <summary>Reading or writing failed otherwise.</summary>
    TransferFailed,

    /// <summary>A limit of this proxy on connections, streams or memory.</summary>
    LimitReached,
    /// <summary>A fault of the proxy itself; its log has the exception.</summary>
    InternalError,
}

/// <summary>The words of the reasons and the flags of Istio's metrics.</summary>
public static class Reasons
{
    private static readonly string[] Words = [.. All.Select(Kebab)];
    private static readonly FrozenDictionary<string, Reason> ByWord = All.ToFrozenDictionary(Word, StringComparer.Ordinal);

    /// <summary>Every reason, in order of declaration.</summary>
    public static IReadOnlyList<Reason> All => Enum.GetValues<Reason>();

    /// <summary>How log, metric and pages write it: lower-case words joined by hyphens, e.g. <c>no-healthy-upstream</c>.</summary>
    public static string Word(this Reason reason) => Words[(int)reason];

    /// <summary>The reason of a word; null when there is none.</summary>
    public static Reason? Parse(string? word) => word is not null && ByWord.TryGetValue(word, out var reason) ? reason : null;

    /// <summary>Value of the label <c>response_flags</c> of Istio's TCP metrics (L4 reference §11.2); <c>-</c> for an end that is no failure.</summary>
    public static string ResponseFlags(this Reason reason) => reason switch
    {
        Reason.PolicyDenied or Reason.PolicyNotAllowed or Reason.PolicyChanged => "DENY",
        Reason.HboneTimeout => "NETWORK_POLICY",
        Reason.TlsHandshake => "TLS_FAILURE",
        Reason.Http2Error => "H2_HANDSHAKE_FAILURE",
        Reason.IdentityUnavailable => "IDENTITY_ERROR",
        Reason.CertificateRevoked => "CERT_REVOKED",
        Reason.Drain or Reason.DrainTimeout => "-",
        _ => "CONNECT",
    };

    private static string Kebab(Reason reason)
    {
        var name = reason.ToString();
        return string.Concat(name.Select((c, i) => char.IsUpper(c) ? (i == 0 ? "" : "-") + char.ToLowerInvariant(c) : $"{c}"));
    }
}
