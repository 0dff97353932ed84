using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using AmbientMesh.Hbone;
using AmbientMesh.Hbone.Hpack;
using AmbientMesh.Hbone.Http2;
using AmbientMesh.Linux;
using AmbientMesh.Model;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Certificates;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.Dns;
using AmbientMesh.Ztunnel.InPod;
using AmbientMesh.Ztunnel.Reporting;

namespace AmbientMesh.Ztunnel.Outbound;

/// <summary>Serves connections the pod's applications open (port 15001): decide, connect, carry bytes, account.</summary>
/// <param name="pool">The pod's tunnels.</param>
/// <param name="dns">Finds workloads that are known by a host name.</param>
public sealed class OutboundProxy(PodContext pod, HbonePool pool, DnsServices dns)
{
    private readonly ProxyServices _services = pod.Services;

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
        var settings = new OutboundSettings(_services.Settings.Network, Random.Shared);
        switch (await ResolvedAsync(OutboundRouter.Decide(_services.Mesh.Current, workload, destination, settings), workload, connection.Closing))
        {
            case OutboundRoute.Refused refused:
                await RejectAsync(connection, intake, source, destination, refused.Reason);
                break;
            case OutboundRoute.DoubleHbone remote:
                await RejectAsync(connection, intake, source, destination, CloseReason.RemoteNetwork(remote.Peer));
                break;
            case OutboundRoute.Plaintext plain:
                await ForwardAsync(connection, intake, Describe(source, workload, plain.Destination, plain.Peer, plain.Service, null), destination, c => OpenPlainAsync(plain, c));
                break;
            case OutboundRoute.Hbone tunnel:
                var description = Describe(source, workload, tunnel.NextHop, tunnel.Peer, tunnel.Service, tunnel.Authority.ToString());
                await ForwardAsync(connection, intake, description, destination, c => OpenTunnelAsync(tunnel, workload, source, connection.Trace, c));
                break;
        }
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

    private async Task ForwardAsync(OpenConnection connection, OutboundIntake intake, ConnectionDescription description, IPEndPoint original,
        Func<CancellationToken, Task<(ITransport?, CloseReason?)>> open)
    {
        var account = _services.Reports.Opened(connection, description with { Original = original });
        var (received, sent) = (0L, 0L);
        CloseReason? reason;
        try
        {
            (var upstream, reason) = await open(connection.Closing);
            if (upstream is null) await intake.RefusedAsync(reason!);
            else
            {
                await using var _ = upstream;
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

    private async Task<(ITransport?, CloseReason?)> OpenPlainAsync(OutboundRoute.Plaintext plain, CancellationToken cancellationToken)
    {
        try
        {
            return (new SocketTransport(await pod.Sockets.ConnectAsync(plain.Destination, cancellationToken), isPrepared: true), null);
        }
        catch (Exception e) when (e is SocketException or IOException)
        {
            return (null, CloseReason.PeerUnreachable(e, plain.Destination));
        }
    }

    private async Task<(ITransport?, CloseReason?)> OpenTunnelAsync(OutboundRoute.Hbone tunnel, Workload workload, IPEndPoint source, TraceContext trace, CancellationToken cancellationToken)
    {
        HeaderField[] headers =
        [
            new(TunnelHeaders.BaggageName, Baggage.Write(workload)),
            new(TunnelHeaders.ForwardedName, TunnelHeaders.Forwarded(source, tunnel.Service)),
            new(TunnelHeaders.TraceParentName, trace.Header),
        ];
        try
        {
            var key = new HbonePoolKey(workload.Identity, tunnel.Identities, tunnel.NextHop, source.Address, tunnel.Peer.Uid);
            return await pool.ConnectAsync(key, tunnel.Authority, headers, cancellationToken) switch
            {
                ConnectOutcome.Established established => (established.Stream, null),
                ConnectOutcome.Rejected rejected => (null, RefusalOf(rejected, tunnel)),
                ConnectOutcome.NotProcessed refused => (null, CloseReason.TunnelFailed(refused.Reason, Reason.StreamRefused)),
                ConnectOutcome.Failed { Error: ConnectionErrorException broken } => (null, CloseReason.Http2(broken.Message)),
                ConnectOutcome.Failed failed => (null, CloseReason.TunnelFailed(failed.Error.Message, failed.Error is StreamResetException ? Reason.StreamReset : Reason.TunnelFailed)),
                _ => throw new UnreachableException(),
            };
        }
        catch (IOException e)
        {
            if (e is TlsHandshakeException { IsRevoked: true }) _services.Metrics.Revoked(Direction.Outbound);
            return (null, ReasonOf(e, tunnel, workload));
        }
    }

    /// <summary>What the other end says of its refusal; a word it may only choose from ours.</summary>
    private static CloseReason RefusalOf(ConnectOutcome.Rejected rejected, OutboundRoute.Hbone tunnel) =>
        CloseReason.HttpStatus(rejected.Status, Decider.Of(tunnel.Peer), Reasons.Parse(rejected.Headers.FirstOrDefault(h => h.Name == TunnelHeaders.ReasonName).Value));

    /// <summary>Why a tunnel could not be opened.</summary>
    private static CloseReason ReasonOf(IOException failure, OutboundRoute.Hbone tunnel, Workload workload) => failure switch
    {
        SvidUnavailableException => CloseReason.IdentityUnavailable(failure.Message, Decider.OfPeer(workload.Identity) with { Kind = "Identity" }),
        TunnelConnectException { TimedOut: true } => CloseReason.HboneTimeout with { DecidedBy = new Decider("Address", tunnel.NextHop.ToString()) },
        TunnelConnectException => CloseReason.PeerUnreachable(failure, tunnel.NextHop),
        TlsHandshakeException { IsRevoked: true } => CloseReason.PeerRevoked(failure.Message, Decider.Of(tunnel.Peer)),
        TlsHandshakeException { PeerRefused: true } => CloseReason.PeerNotTrusted(failure.Message, Decider.Of(tunnel.Peer)),
        TlsHandshakeException => CloseReason.PeerHandshake(failure.Message, Decider.Of(tunnel.Peer)),
        _ => CloseReason.TunnelFailed(failure.Message),
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
