using System.Net;
using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Ztunnel.Connections;

namespace AmbientMesh.Ztunnel.Inbound;

/// <summary>Whether a connection without mTLS may reach the pod (L4 reference §10.3). Pure.</summary>
public static class PlaintextAdmission
{
    /// <summary>Null when it may; the source has no identity, so policies that need one do not hold.</summary>
    public static CloseReason? Decide(MeshSnapshot mesh, Workload local, IPAddress source, IPEndPoint destination)
    {
        if (ProxyPorts.IsIllegal(destination.Port)) return CloseReason.SelfCall;
        var verdict = Authorizer.Decide(mesh, local, new ConnectionFacts(null, source, destination));
        return verdict is AuthorizationVerdict.Allowed ? null : CloseReason.Policy(verdict);
    }
}
