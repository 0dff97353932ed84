using System.Net;
using AmbientMesh.Model;
using AmbientMesh.Ztunnel.Configuration;
using AmbientMesh.Ztunnel.Connections;

namespace AmbientMesh.Ztunnel.Outbound;

/// <summary>Reaches one of a service's endpoints for a connection: while nobody answers at the chosen one, another is tried in its place (AMBIENT_CONNECT_ATTEMPTS). Istio's ztunnel
/// tries one (L4 reference §10.4).</summary>
/// <remarks>Only silence moves a connection on: whoever answers, if only to refuse it, decides about it. It never moves from a tunnel to plaintext.</remarks>
/// <param name="dial">Dials a route.</param>
/// <param name="decide">The route when the given endpoints are to be left for others.</param>
internal sealed class EndpointTrial(
    UnansweredEndpoints unanswered, ZtunnelSettings settings, TimeProvider clock, Workload client, Func<OutboundRoute, CancellationToken, Task<DialResult>> dial, Func<Predicate<Workload>, ValueTask<OutboundRoute>> decide)
{
    private readonly HashSet<string> _tried = new(StringComparer.Ordinal);
    private bool _isProtected;

    /// <summary>Dials <paramref name="route"/>, then others.</summary>
    /// <param name="moved">Told of each further endpoint before it is dialled, and why the one before was given up.</param>
    public async Task<DialResult> RunAsync(OutboundRoute route, Action<OutboundRoute, CloseReason> moved, CancellationToken cancellationToken)
    {
        _isProtected = route is OutboundRoute.Hbone;
        while (true)
        {
            var peer = PeerOf(route)!;
            _tried.Add(peer.Uid);
            var (result, next) = await TryAsync(route, cancellationToken);
            if (result.WasAnswered) unanswered.Remove(client, peer);
            else unanswered.Add(client, peer);
            if (next is null) return result;
            moved(next, result.Reason!);
            route = next;
        }
    }

    /// <summary>Whether there can be another endpoint to try. Cheap.</summary>
    public static bool IsWorthwhile(MeshSnapshot mesh, OutboundRoute route, int attempts) => attempts > 1 && route switch
    {
        OutboundRoute.Plaintext { Peer: not null, Service: { } service } => mesh.CountEndpoints(service.Key) > 1,
        OutboundRoute.Hbone { Service: var service } tunnel => tunnel.IsThroughWaypoint || (service is not null && mesh.CountEndpoints(service.Key) > 1),
        _ => false,
    };

    private static Workload? PeerOf(OutboundRoute route) => route switch
    {
        OutboundRoute.Plaintext plain => plain.Peer,
        OutboundRoute.Hbone tunnel => tunnel.Peer,
        _ => null,
    };

    // The next route is there only when the dialled one was not answered.
    private async Task<(DialResult Result, OutboundRoute? Next)> TryAsync(OutboundRoute route, CancellationToken cancellationToken)
    {
        using var givenUp = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var dialling = dial(route, givenUp.Token);
        OutboundRoute? next = null;
        if (!await IsSettledAsync(dialling, cancellationToken) && (next = await AnotherAsync(cancellationToken)) is not null) await givenUp.CancelAsync();
        DialResult result;
        try
        {
            result = await dialling;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            result = DialResult.Unanswered(CloseReason.Silent(HopOf(route), settings.ConnectAttemptTimeout));
        }
        if (result.WasAnswered) return (result, null);
        next ??= await AnotherAsync(cancellationToken);
        cancellationToken.ThrowIfCancellationRequested();
        return (result, next);
    }

    private async Task<bool> IsSettledAsync(Task dialling, CancellationToken cancellationToken)
    {
        await dialling.WaitAsync(settings.ConnectAttemptTimeout, clock, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return dialling.IsCompleted;
    }

    // Null when there is none, or when the connection must end: what is being dialled is awaited in any case.
    private async ValueTask<OutboundRoute?> AnotherAsync(CancellationToken cancellationToken)
    {
        if (_tried.Count >= settings.ConnectAttempts) return null;
        var isUnanswered = unanswered.For(client);
        try
        {
            var route = await decide(w => _tried.Contains(w.Uid) || isUnanswered?.Invoke(w) == true);
            return PeerOf(route) is { } peer && !_tried.Contains(peer.Uid) && (route is OutboundRoute.Hbone || !_isProtected) ? route : null;
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            return null;
        }
    }

    private static IPEndPoint HopOf(OutboundRoute route) => route is OutboundRoute.Hbone tunnel ? tunnel.NextHop : ((OutboundRoute.Plaintext)route).Destination;
}
