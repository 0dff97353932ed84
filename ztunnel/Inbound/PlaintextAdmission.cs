using System.Net;
using AmbientMesh.Ztunnel.Connections;

namespace AmbientMesh.Ztunnel.Inbound;

/// <summary>Whether a connection without mTLS may be considered at all, before policy (L4 reference §10.3). Pure.</summary>
/// <remarks>Policy then judges it without an identity, so that rules which need one do not hold: <see cref="PolicyJudge"/>.</remarks>
public static class PlaintextAdmission
{
    /// <summary>Null when it may; the proxy's own ports lead back to the proxy.</summary>
    public static CloseReason? Decide(IPEndPoint destination) => ProxyPorts.IsIllegalInbound(destination.Port) ? CloseReason.SelfCall(destination) : null;
}
