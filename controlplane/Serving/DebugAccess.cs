using System.Net;
using AmbientMesh.ControlPlane.Certificates;

namespace AmbientMesh.ControlPlane.Serving;

/// <summary>Who may read the debug pages: they show every namespace's configuration (T-39).</summary>
internal static class DebugAccess
{
    private const string Scheme = "Bearer ";

    /// <summary>Null when allowed, else the HTTP status and the reason.</summary>
    /// <param name="remote">Where the request came from; a connection of the pod itself (exec, port-forward) is trusted.</param>
    /// <param name="authorization">The header of that name.</param>
    /// <param name="authenticate">Finds out whose a token is.</param>
    /// <param name="systemNamespace">Accounts of which may read.</param>
    public static async Task<(int Status, string Reason)?> RefusalAsync(
        IPAddress? remote, string? authorization, Func<string, CancellationToken, Task<Authentication>> authenticate, string systemNamespace, CancellationToken cancellationToken)
    {
        if (remote is not null && IPAddress.IsLoopback(remote)) return null;
        if (authorization is null || !authorization.StartsWith(Scheme, StringComparison.Ordinal))
            return (401, $"send a token of an account in {systemNamespace}, or connect from inside the pod");
        return await authenticate(authorization[Scheme.Length..].Trim(), cancellationToken) switch
        {
            Authentication.Proven { Caller.Identity: var caller } when caller.Namespace == systemNamespace => null,
            Authentication.Proven { Caller.Identity: var caller } => (403, $"{caller} is not of {systemNamespace}"),
            _ => (401, "the token is not valid here"),
        };
    }
}
