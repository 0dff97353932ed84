using System.Diagnostics;
using System.Threading.RateLimiting;
using AmbientMesh.ControlPlane.Certificates;
using AmbientMesh.ControlPlane.Serving;
using AmbientMesh.ControlPlane.Settings;
using AmbientMesh.Protocol.Core;
using AmbientMesh.Rpc;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Discovery;

/// <summary>Lets a discovery stream in or ends it with the status its client understands. Called once per stream.</summary>
/// <param name="settings">Which checks are on.</param>
/// <param name="authenticate">Finds out who a caller is.</param>
/// <param name="isReady">Whether the whole world has been read; before, an answer would look like the removal of what is missing.</param>
/// <param name="metrics">Counts refusals.</param>
/// <param name="log">Told why, which the client is not.</param>
public sealed partial class DiscoveryAccess(
    ControlPlaneSettings settings, Func<RpcServerContext, CancellationToken, Task<Authentication>> authenticate, Func<bool> isReady, ControlPlaneMetrics metrics, ILogger log) : IDisposable
{
    private static readonly TimeSpan LimitPatience = TimeSpan.FromSeconds(1);

    private readonly TokenBucketRateLimiter _limit = new(new TokenBucketRateLimiterOptions
    {
        TokenLimit = (int)Math.Ceiling(settings.MaxStreamsPerSecond),
        TokensPerPeriod = 1,
        ReplenishmentPeriod = TimeSpan.FromSeconds(1 / settings.MaxStreamsPerSecond),
        QueueLimit = 10_000,
        AutoReplenishment = true,
    });

    /// <exception cref="RpcException">The stream is not let in.</exception>
    public async Task AdmitAsync(RpcServerContext context, Node node)
    {
        try
        {
            if (!isReady()) throw new RpcException(StatusCode.Unavailable, "server is not ready to serve discovery information");
            await WaitForTurnAsync(context.CancellationToken);
            var caller = MustIdentify(context) ? await IdentifyAsync(context) : null;
            var identities = caller is null || !settings.CheckDiscoveryIdentity ? null : new[] { caller.Identity };
            switch (ClientAdmission.Decide(node, identities, settings.ServesAmbient))
            {
                case Admission.Malformed malformed: throw new RpcException(StatusCode.InvalidArgument, malformed.Reason);
                case Admission.Refused refused: throw new RpcException(StatusCode.PermissionDenied, refused.Reason);
                case Admission.Admitted { Client: var client }: Admitted(client.NodeId, client.NodeName, context.PeerAddress?.ToString() ?? "", caller?.Identity.ToString() ?? "none"); break;
            }
        }
        catch (RpcException refusal)
        {
            metrics.Refused(refusal.Code.ToString());
            Refused(node.Id, context.PeerAddress?.ToString() ?? "", refusal.Code.ToString(), refusal.Detail);
            throw;
        }
    }

    public void Dispose() => _limit.Dispose();

    // Only the TLS listener knows identities; the plaintext one serves discovery without any (reference 2.4) unless told otherwise.
    private bool MustIdentify(RpcServerContext context) => context.Http.Request.IsHttps ? settings.AuthenticateDiscovery : settings.AuthenticatePlaintextDiscovery;

    private async Task<Caller> IdentifyAsync(RpcServerContext context)
    {
        switch (await authenticate(context, context.CancellationToken))
        {
            case Authentication.Proven proven: return proven.Caller;
            case Authentication.Refused refused:
                NotIdentified(context.PeerAddress?.ToString() ?? "", refused.Reason);
                throw new RpcException(StatusCode.Unauthenticated, "authentication failure");
            default: throw new UnreachableException();
        }
    }

    private async Task WaitForTurnAsync(CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(LimitPatience);
        try
        {
            using var turn = await _limit.AcquireAsync(1, patience.Token);
            if (turn.IsAcquired) return;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            // Falls through to the refusal.
        }
        throw new RpcException(StatusCode.ResourceExhausted, "request rate limit exceeded");
    }

    [LoggerMessage(3001, LogLevel.Information, "discovery for {Node} on {NodeName} from {Peer}, identity {Identity}")]
    private partial void Admitted(string node, string nodeName, string peer, string identity);

    [LoggerMessage(3002, LogLevel.Warning, "discovery refused to {Node} from {Peer}: {Code}: {Reason}")]
    private partial void Refused(string node, string peer, string code, string reason);

    [LoggerMessage(3003, LogLevel.Warning, "discovery caller at {Peer} not identified: {Reason}")]
    private partial void NotIdentified(string peer, string reason);
}
