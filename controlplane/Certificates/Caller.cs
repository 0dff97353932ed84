using AmbientMesh.Model;

namespace AmbientMesh.ControlPlane.Certificates;

/// <summary>Whom a caller proved to be.</summary>
/// <param name="Identity">Of its ServiceAccount.</param>
/// <param name="PodName">The pod its token is bound to; null when it is bound to none, and for a client certificate, which names no pod.</param>
/// <param name="PodUid">Of that pod; null when there is none.</param>
public sealed record Caller(SpiffeId Identity, string? PodName, string? PodUid);

/// <summary>What authentication found. Exactly one case holds.</summary>
public abstract record Authentication
{
    private Authentication()
    {
    }

    public sealed record Proven(Caller Caller) : Authentication;

    /// <summary>Nobody in particular. <paramref name="Reason"/> is for the log and never for the caller.</summary>
    public sealed record Refused(string Reason) : Authentication;
}
