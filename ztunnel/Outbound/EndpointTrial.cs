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
        while (true)
        {
            var peer = PeerOf(route)!;
            _isProtected |= route is OutboundRoute.Hbone;
            _tried.Add(peer.Uid);
            var (result, next) = await TryAsync(route, cancellationToken);
            if (result.Upstream is not null) unanswered.Remove(client, peer);
            else if (!result.WasAnswered && result.Reason!.Reason != Reason.ConnectRefused) unanswered.Add(client, peer);   // a refused dial costs nothing
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
        try
        {
            var next = await IsSettledAsync(dialling, cancellationToken) ? null : await MeanwhileAsync(dialling, cancellationToken);
            if (next is not null) await givenUp.CancelAsync();
            var result = await ResultOfAsync(dialling, route, cancellationToken);
            if (result.WasAnswered) return (result, null);
            next ??= await AnotherAsync(cancellationToken);
            cancellationToken.ThrowIfCancellationRequested();
            return (result, next);
        }
        catch
        {
            await givenUp.CancelAsync();
            await ((Task)dialling).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (dialling is { IsCompletedSuccessfully: true, Result.Upstream: { } unwanted }) await unwanted.DisposeAsync();
            throw;
        }
    }

    // Another endpoint, unless the dialled one answers while it is looked for.
    private async Task<OutboundRoute?> MeanwhileAsync(Task dialling, CancellationToken cancellationToken)
    {
        var looking = AnotherAsync(cancellationToken);
        await Task.WhenAny(dialling, looking);
        return dialling.IsCompleted ? null : await looking;
    }

    private async Task<DialResult> ResultOfAsync(Task<DialResult> dialling, OutboundRoute route, CancellationToken cancellationToken)
    {
        try
        {
            return await dialling;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return DialResult.Unanswered(CloseReason.Silent(HopOf(route), route is OutboundRoute.Hbone, settings.ConnectAttemptTimeout));
        }
    }

    private async Task<bool> IsSettledAsync(Task dialling, CancellationToken cancellationToken)
    {
        await dialling.WaitAsync(settings.ConnectAttemptTimeout, clock, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return dialling.IsCompleted;
    }

    // Null when there is none, or when the connection must end. Those that stayed silent for other connections come last.
    private async Task<OutboundRoute?> AnotherAsync(CancellationToken cancellationToken)
    {
        if (_tried.Count >= settings.ConnectAttempts) return null;
        try
        {
            if (unanswered.For(client) is { } isUnanswered && Usable(await decide(w => _tried.Contains(w.Uid) || isUnanswered(w))) is { } fresh) return fresh;
            return Usable(await decide(w => _tried.Contains(w.Uid)));
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            return null;
        }
    }

    private OutboundRoute? Usable(OutboundRoute route) => PeerOf(route) is { } peer && !_tried.Contains(peer.Uid) && (route is OutboundRoute.Hbone || !_isProtected) ? route : null;

    private static IPEndPoint HopOf(OutboundRoute route) => route is OutboundRoute.Hbone tunnel ? tunnel.NextHop : ((OutboundRoute.Plaintext)route).Destination;
}
