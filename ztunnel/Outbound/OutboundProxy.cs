using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using AmbientMesh.Hbone;
using AmbientMesh.Linux;
using AmbientMesh.Model;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Certificates;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.Dns;
using AmbientMesh.Ztunnel.InPod;
using AmbientMesh.Ztunnel.Reporting;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Outbound;

/// <summary>Serves connections the pod's applications open (port 15001): decide, connect, carry bytes, account.</summary>
/// <param name="pool">The pod's tunnels.</param>
/// <param name="dns">Finds workloads that are known by a host name.</param>
public sealed class OutboundProxy(PodContext pod, HbonePool pool, DnsServices dns)
{
    private readonly ProxyServices _services = pod.Services;
    private readonly UpstreamDialing _dialing = new(pod, pool);
    private readonly ILogger _log = pod.Services.Loggers.CreateLogger("ztunnel::proxy::outbound");

    /// <summary>Serves one captured connection to its end; every failure becomes a reason in the access log.</summary>
    public async Task ServeAsync(Socket accepted)
    {
        _services.Metrics.Sockets(Direction.Outbound).Increment();
        using var connection = pod.Connections.Begin();
        await using var application = new SocketTransport(accepted, isPrepared: true);
        try
        {
            var destination = accepted.OriginalDestination() ?? Listener.Canonical(accepted.LocalEndPoint);
            await CarryAsync(connection, new OutboundIntake(application), Listener.Canonical(accepted.RemoteEndPoint), destination);
        }
        finally
        {
            _services.Metrics.Sockets(Direction.Outbound).Decrement();
        }
    }

    /// <summary>Carries a connection to its end; every failure becomes a reason in the access log.</summary>
    public async Task CarryAsync(OpenConnection connection, OutboundIntake intake, IPEndPoint source, IPEndPoint destination)
    {
        try
        {
            await RouteAsync(connection, intake, source, destination);
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or IOException)
        {
            await RejectAsync(connection, intake, source, destination, connection.Reason ?? CloseReason.PeerUnreachable(e, destination));
        }
        catch (Exception e)
        {
            await RejectAsync(connection, intake, source, destination, CloseReason.Internal(e));
            throw;
        }
    }

    private async Task RouteAsync(OpenConnection connection, OutboundIntake intake, IPEndPoint source, IPEndPoint destination)
    {
        if (IPAddress.IsLoopback(destination.Address) && ProxyPorts.IsIllegal(destination.Port))
        {
            await RejectAsync(connection, intake, source, destination, CloseReason.SelfCall(destination));
            return;
        }
        if (await pod.LocalWorkloadAsync(connection.Closing) is not { } workload)
        {
            await RejectAsync(connection, intake, source, destination, CloseReason.LocalWorkloadUnknown(pod.Info));
            return;
        }
        await DemandAsync(destination.Address, workload, connection.Closing);
        var route = await DecideAsync(workload, destination, _services.Unanswered.For(workload), connection.Closing);
        switch (route)
        {
            case OutboundRoute.Refused refused:
                await RejectAsync(connection, intake, source, destination, refused.Reason);
                break;
            case OutboundRoute.DoubleHbone remote:
                await RejectAsync(connection, intake, source, destination, CloseReason.RemoteNetwork(remote.Peer));
                break;
            default:
                await ForwardAsync(connection, intake, source, destination, workload, route);
                break;
        }
    }

    private async ValueTask<OutboundRoute> DecideAsync(Workload client, IPEndPoint destination, Predicate<Workload>? avoid, CancellationToken cancellationToken)
    {
        var settings = new OutboundSettings(_services.Settings.Network, Random.Shared, Avoid: avoid);
        var decided = OutboundRouter.Decide(_services.Mesh.Current, client, destination, settings);
        var route = await ResolvedAsync(decided, client, cancellationToken);
        // An endpoint without an address stands in for nobody.
        return avoid is not null && route is OutboundRoute.Refused && decided is OutboundRoute.ByName ? await DecideAsync(client, destination, null, cancellationToken) : route;
    }

    /// <summary>On demand an unknown address is asked for; it may belong to the mesh all the same (L4 reference §4.5).</summary>
    private async ValueTask DemandAsync(IPAddress address, Workload client, CancellationToken cancellationToken)
    {
        if (_services.Demand is not { } demand) return;
        var name = new NetworkAddress(_services.Settings.Network, address);
        if (_services.Mesh.Current.Find(name, client.Namespace) is (null, null)) await demand(name.ToString(), cancellationToken);
    }

    /// <summary>The route itself, or for a workload known by its host name the one to an address of that name.</summary>
    private async ValueTask<OutboundRoute> ResolvedAsync(OutboundRoute route, Workload client, CancellationToken cancellationToken)
    {
        if (route is not OutboundRoute.ByName { Peer: var peer } byName) return route;
        dns.Metrics.OnDemand(client, peer.Hostname);
        var lookup = await dns.Names.ResolveAsync(peer.Hostname, cancellationToken);
        return lookup.Choose(byName.Preferred, byName.Families, Random.Shared) is { } address
            ? byName.Then(address)
            : new OutboundRoute.Refused(CloseReason.NameUnresolved(peer, peer.Hostname, lookup.Addresses.IsEmpty ? lookup.Why : "no A/AAAA records of a family the service allows"));
    }

    private ValueTask RejectAsync(OpenConnection connection, OutboundIntake intake, IPEndPoint source, IPEndPoint destination, CloseReason reason)
    {
        _services.Reports.Failed(connection, Direction.Outbound, source, destination, reason);
        return intake.RefusedAsync(reason);
    }

    private async Task ForwardAsync(OpenConnection connection, OutboundIntake intake, IPEndPoint source, IPEndPoint original, Workload workload, OutboundRoute route)
    {
        var account = _services.Reports.Opened(connection, Describe(source, workload, original, route));
        var (received, sent) = (0L, 0L);
        CloseReason? reason;
        try
        {
            (var upstream, reason, _) = await OpenAsync(connection, account, source, original, workload, route);
            if (upstream is null) await intake.RefusedAsync(reason!);
            else
            {
                await using var _ = upstream;
                var description = account.Description;
                if (upstream is HboneStream { Peer: { } peer }) (connection.PeerPath, connection.PeerIdentity) = (peer.Path, peer.Identity);
                if (upstream is HboneStream { Peer.Path.Count: 0 }) _services.Metrics.Untracked(Direction.Outbound);
                connection.View = new ConnectionView(Direction.Outbound, description.Source, original.ToString(), description.Destination.ToString(), description.IsMutualTls ? "HBONE" : "TCP");
                await intake.EstablishedAsync(connection.Closing);
                var result = await connection.RelayAsync(intake.Application, upstream, account.Counters);
                (received, sent) = (result.FirstToSecondBytes, result.SecondToFirstBytes);
                reason = RelayEnding.ReasonOf(result, connection, Direction.Outbound);
            }
        }
        catch (OperationCanceledException)
        {
            reason = connection.Reason ?? CloseReason.Drain;
            await intake.RefusedAsync(reason);
        }
        account.Close(reason, received, sent);
    }

    private async Task<DialResult> OpenAsync(OpenConnection connection, ConnectionAccount account, IPEndPoint source, IPEndPoint original, Workload workload, OutboundRoute route)
    {
        if (!EndpointTrial.IsWorthwhile(_services.Mesh.Current, route, _services.Settings.ConnectAttempts)) return await DialAsync(route, connection.Closing);
        if (route is OutboundRoute.Hbone) await CertifiedAsync(workload.Identity, connection.Closing);
        var trial = new EndpointTrial(_services.Unanswered, _services.Settings, _services.Clock, workload, DialAsync, avoid => DecideAsync(workload, original, avoid, connection.Closing));
        return await trial.RunAsync(route, Moved, connection.Closing);

        Task<DialResult> DialAsync(OutboundRoute way, CancellationToken cancellationToken) => _dialing.DialAsync(way, workload, source, connection.Trace, cancellationToken);

        void Moved(OutboundRoute next, CloseReason because)
        {
            var description = Describe(source, workload, original, next);
            _log.Write(LogLevel.Warning, $"endpoint not reached, trying {description.Destination}", new("dst.addr", account.Description.Destination), new("dst.service", description.Service?.Hostname), new("reason", because.Reason.Word()), new("error", because.Text), new("connection.id", connection.Trace.TraceId));
            account.MoveTo(description, because);
        }
    }

    // An endpoint must not be blamed for the time our certificate authority takes.
    private async ValueTask CertifiedAsync(SpiffeId identity, CancellationToken cancellationToken)
    {
        try
        {
            await _services.Svids.GetAsync(identity, cancellationToken);
        }
        catch (SvidUnavailableException)
        {
            // Who dials is told why.
        }
    }

    private static ConnectionDescription Describe(IPEndPoint source, Workload workload, IPEndPoint original, OutboundRoute route) => route switch
    {
        OutboundRoute.Plaintext plain => Describe(source, workload, plain.Destination, plain.Peer, plain.Service, null) with { Original = original },
        OutboundRoute.Hbone tunnel => Describe(source, workload, tunnel.NextHop, tunnel.Peer, tunnel.Service, tunnel.Authority.ToString()) with { Original = original },
        _ => throw new UnreachableException(),
    };

    private static ConnectionDescription Describe(IPEndPoint source, Workload workload, IPEndPoint hop, Workload? peer, MeshService? service, string? hboneTarget) => new()
    {
        Direction = Direction.Outbound,
        Source = source,
        SourcePeer = PeerLabels.Of(workload),
        SourceIdentity = hboneTarget is null ? null : workload.Identity,
        Destination = hop,
        DestinationPeer = peer is null ? null : PeerLabels.Of(peer),
        DestinationIdentity = peer?.Identity,
        HboneTarget = hboneTarget,
        Service = service,
    };
}
