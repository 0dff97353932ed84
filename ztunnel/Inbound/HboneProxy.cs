using System.Net;
using System.Net.Sockets;
using AmbientMesh.Hbone;
using AmbientMesh.Hbone.Hpack;
using AmbientMesh.Hbone.Http2;
using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.InPod;
using AmbientMesh.Ztunnel.Reporting;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Inbound;

/// <summary>Serves tunnels that reach the pod (port 15008): mutual TLS, then each CONNECT is checked, judged by policy and carried.</summary>
public sealed class HboneProxy(PodContext pod)
{
    // A ztunnel opens one tunnel at a time to a pod and a hundred streams on each; T-09.
    private const int MaxHandshakesPerSource = 128;
    private const int MaxTunnelsPerSource = 1024;

    /// <summary>Time for a client's TLS handshake (T-09).</summary>
    public static readonly TimeSpan HandshakeTimeout = TimeSpan.FromSeconds(10);

    private readonly ProxyServices _services = pod.Services;
    private readonly ILogger _log = pod.Services.Loggers.CreateLogger("ztunnel::proxy");
    private readonly Lock _gate = new();
    private readonly HashSet<HboneServerConnection> _tunnels = [];
    private readonly SourceLimit _handshakes = new(MaxHandshakesPerSource);
    private readonly SourceLimit _tunnelsBySource = new(MaxTunnelsPerSource);
    private bool _draining;

    /// <summary>Serves one TCP connection until its tunnel ends.</summary>
    public async Task ServeAsync(Socket accepted)
    {
        _services.Metrics.Sockets(Direction.Inbound).Increment();
        var source = Listener.Canonical(accepted.RemoteEndPoint);
        var local = Listener.Canonical(accepted.LocalEndPoint);
        using var connection = pod.Connections.Begin();
        try
        {
            using var place = _tunnelsBySource.TryEnter(source.Address);
            if (place is null) Reject(connection, source, local, CloseReason.TooManyFrom(source.Address, "tunnels"));
            else if (_handshakes.TryEnter(source.Address) is not { } handshake) Reject(connection, source, local, CloseReason.TooManyFrom(source.Address, "handshakes"));
            else if (await HandshakeAsync(accepted, connection, handshake) is { } tunnel) await ServeTunnelAsync(tunnel, connection, source, local);
            else Reject(connection, source, local, CloseReason.LocalWorkloadUnknown(pod.Info));
        }
        catch (OperationCanceledException) when (connection.Reason is { } reason)
        {
            Reject(connection, source, local, reason);
        }
        catch (OperationCanceledException)
        {
            Reject(connection, source, local, CloseReason.TlsHandshake($"took longer than {HandshakeTimeout.TotalSeconds} s"));
        }
        catch (Certificates.SvidUnavailableException e)
        {
            Reject(connection, source, local, CloseReason.IdentityUnavailable(e.Message, Decider.Of(pod.Info)));
        }
        catch (TlsHandshakeException e) when (e.IsRevoked)
        {
            _services.Metrics.Revoked(Direction.Inbound);
            Reject(connection, source, local, CloseReason.TlsHandshake(e.Message, Reason.CertificateRevoked));
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            Reject(connection, source, local, CloseReason.TlsHandshake(e.Message, e is TlsHandshakeException { PeerRefused: true } ? Reason.PeerNotTrusted : Reason.TlsHandshake));
        }
        catch (Exception e)
        {
            Reject(connection, source, local, CloseReason.Internal(e));
            throw;
        }
        finally
        {
            _services.Metrics.Sockets(Direction.Inbound).Decrement();
        }
    }

    /// <summary>Tells every client to open no more streams here; open ones go on.</summary>
    public void BeginDrain()
    {
        HboneServerConnection[] tunnels;
        lock (_gate)
        {
            _draining = true;
            tunnels = [.. _tunnels];
        }
        foreach (var tunnel in tunnels) tunnel.BeginDrain();
    }

    private async Task<HboneServerConnection?> HandshakeAsync(Socket accepted, OpenConnection connection, IDisposable underWay)
    {
        using var ended = underWay;
        using var limit = new CancellationTokenSource(HandshakeTimeout, _services.Clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, connection.Closing);
        if (await pod.LocalWorkloadAsync(either.Token) is not { } local) return null;
        var credentials = await CredentialsAsync(local.Identity, connection, either.Token);
        var tls = await TlsHandshake.AcceptAsync(new SocketTransport(accepted, isPrepared: true), credentials, either.Token);
        (connection.PeerPath, connection.PeerIdentity) = (tls.Peer.Path, tls.Peer.Identity);
        // Whoever ends the tunnels of a new list has not seen the path before this line, and TLS judged by the list at its beginning.
        if (_services.Svids.IsRevoked(tls.Peer.Path))
        {
            await tls.DisposeAsync();
            throw new TlsHandshakeException($"the certificate of {tls.Peer.Identity} was revoked during the handshake", peerRefused: true) { IsRevoked = true };
        }
        if (tls.Peer.Path.Count == 0) _services.Metrics.Untracked(Direction.Inbound);
        return HboneServerConnection.Start(tls, _services.Hbone, tls.Peer, _services.Clock);
    }

    private async ValueTask<TlsCredentials> CredentialsAsync(SpiffeId identity, OpenConnection connection, CancellationToken limit)
    {
        try
        {
            return await _services.Svids.GetAsync(identity, limit);
        }
        catch (OperationCanceledException) when (connection.Reason is null)
        {
            throw new Certificates.SvidUnavailableException($"the CA gave no certificate for {identity} within {HandshakeTimeout.TotalSeconds} s");
        }
    }

    private async Task ServeTunnelAsync(HboneServerConnection tunnel, OpenConnection connection, IPEndPoint source, IPEndPoint local)
    {
        bool draining;
        lock (_gate)
        {
            _tunnels.Add(tunnel);
            draining = _draining;
        }
        if (draining) tunnel.BeginDrain();
        await using var closing = connection.Closing.UnsafeRegister(static t => _ = ((HboneServerConnection)t!).CloseAsync().AsTask(), tunnel);
        try
        {
            await foreach (var request in tunnel.RequestsAsync(CancellationToken.None)) _ = ServeRequestAsync(request, source, local);
            await tunnel.Completion;
            if (tunnel.Failure is ConnectionErrorException broken) Reject(connection, source, local, CloseReason.Http2(broken.Message));
        }
        finally
        {
            lock (_gate) _tunnels.Remove(tunnel);
        }
    }

    private async Task ServeRequestAsync(HboneRequest request, IPEndPoint source, IPEndPoint local)
    {
        await Task.Yield();   // the connection's reader must not wait for an application
        using var connection = pod.Connections.Begin();
        (connection.PeerPath, connection.PeerIdentity) = (request.Peer!.Path, request.Peer.Identity);
        if (TraceContext.Below(request.Value(TunnelHeaders.TraceParentName)) is { } told) connection.Trace = _services.Reports.Continue(told);
        try
        {
            await AdmitAsync(request, connection, source, local);
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException or InvalidOperationException)
        {
            Reject(connection, source, local, connection.Reason ?? CloseReason.TunnelFailed(e.Message));
        }
        catch (Exception e)
        {
            // Nobody awaits this: the fault is told here and the asker answered.
            _log.LogError(e, "serving a request at {Pod} failed", pod.Info);
            Refuse(request, connection, 503, source, local, CloseReason.Internal(e));
        }
    }

    private async Task AdmitAsync(HboneRequest request, OpenConnection connection, IPEndPoint source, IPEndPoint local)
    {
        if (request.Problem is { } problem)
        {
            Refuse(request, connection, 400, source, local, CloseReason.BadRequest(problem));
            return;
        }
        if (await pod.LocalWorkloadAsync(connection.Closing) is not { } workload)
        {
            Refuse(request, connection, 503, source, local, CloseReason.LocalWorkloadUnknown(pod.Info));
            return;
        }
        // Of what a gateway brings, the address is the gateway's.
        var client = IsThroughGateway(request) ? null : await _services.Sources.FindAsync(_services, source.Address, connection.Closing);
        var mesh = _services.Mesh.Current;
        var settings = new InboundSettings(_services.Settings.Network, _services.Settings.PreferredServiceNamespace, _services.Settings.LocalhostAppTunnel);
        switch (InboundAdmission.Decide(mesh, workload, local.Address, request.Authority!, settings))
        {
            case InboundDecision.Rejected rejected:
                Refuse(request, connection, rejected.Status, source, local, rejected.Reason);
                break;
            case InboundDecision.Admitted admitted:
                await ForwardAsync(request, connection, admitted, Describe(request, mesh, workload, source, local, admitted, client), mesh, workload);
                break;
        }
    }

    private async Task ForwardAsync(HboneRequest request, OpenConnection connection, InboundDecision.Admitted admitted, ConnectionDescription description, MeshSnapshot mesh, Workload workload)
    {
        var account = _services.Reports.Opened(connection, description);
        var facts = admitted.Facts(request.Peer!.Identity, description.Source.Address);
        if (PolicyJudge.Judge(pod, mesh, workload, facts) is { } refusal)
        {
            Answer(request, connection, 401, refusal);
            account.Close(refusal);
            return;
        }
        SocketTransport application;
        try
        {
            application = new SocketTransport(await InboundRelay.ConnectAsync(pod, admitted, description.Source.Address, connection.Closing), isPrepared: true);
        }
        catch (Exception e) when (e is SocketException or IOException or OperationCanceledException)
        {
            var reason = connection.Reason ?? CloseReason.ApplicationUnreachable(e, admitted.Upstream);
            Answer(request, connection, 503, reason);
            account.Close(reason);
            return;
        }
        await using (application)
        {
            await using var stream = Accept(request, workload);
            await CarryAsync(connection, stream, application, admitted, facts, account, description);
        }
    }

    private async Task CarryAsync(OpenConnection connection, HboneStream stream, SocketTransport application, InboundDecision.Admitted admitted, ConnectionFacts facts, ConnectionAccount account, ConnectionDescription description)
    {
        try
        {
            if (admitted.ProxyDestination is { } announced) await application.WriteAsync(ProxyHeader.Write(description.Source, announced, facts.Peer), connection.Closing);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            account.Close(connection.Reason ?? CloseReason.ApplicationUnreachable(e, admitted.Upstream));
            return;
        }
        InboundRelay.Track(pod, connection, new ConnectionView(Direction.Inbound, description.Source, null, admitted.Upstream.ToString(), "HBONE"), facts);
        await InboundRelay.CarryAsync(connection, stream, application, account);
    }

    private HboneStream Accept(HboneRequest request, Workload workload) => _services.Settings.ResponseBaggage
        ? request.Accept(new HeaderField(TunnelHeaders.BaggageName, Baggage.Write(workload)))
        : request.Accept();

    private ConnectionDescription Describe(HboneRequest request, MeshSnapshot mesh, Workload workload, IPEndPoint source, IPEndPoint local, InboundDecision.Admitted admitted, Workload? client)
    {
        var host = request.Authority!.Address is null ? request.Authority.Host : TunnelHeaders.ForwardedHost(request.Value(TunnelHeaders.ForwardedName));
        return InboundRelay.Describe(mesh, workload, source, local, PeerOf(request, client)) with
        {
            SourceIdentity = request.Peer!.Identity,
            HboneTarget = request.Authority.ToString(),
            Service = DestinationService.Of(mesh, workload, host, (ushort)admitted.Destination.Port),
        };
    }

    /// <summary>The client by its address; by its own words when the address is unknown, another's, or a gateway's (L4 reference §3.9), as far as its certificate bears them out.</summary>
    /// <param name="known">The workload of its address; null when unknown or a gateway's.</param>
    private PeerLabels? PeerOf(HboneRequest request, Workload? known)
    {
        var identity = request.Peer!.Identity;
        if (known is not null && known.Identity == identity) return PeerLabels.Of(known);
        return _services.Settings.ResponseBaggage ? PeerLabels.Of(Baggage.Parse(request.Values(TunnelHeaders.BaggageName)).As(identity)) : null;
    }

    private bool IsThroughGateway(HboneRequest request) =>
        request.Value(TunnelHeaders.ForwardedNetworkName) is { } network && !network.Equals(_services.Settings.Network, StringComparison.OrdinalIgnoreCase);

    private void Refuse(HboneRequest request, OpenConnection connection, int status, IPEndPoint source, IPEndPoint local, CloseReason reason)
    {
        Answer(request, connection, status, reason);
        Reject(connection, source, local, reason);
    }

    /// <summary>Refuses with the id under which this side's log has it, and the reason's word.</summary>
    private static void Answer(HboneRequest request, OpenConnection connection, int status, CloseReason reason)
    {
        if (request.IsAnswered) return;
        request.Reject(status, new HeaderField(TunnelHeaders.ConnectionIdName, connection.Trace.Id), new HeaderField(TunnelHeaders.ReasonName, reason.Reason.Word()));
    }

    private void Reject(OpenConnection connection, IPEndPoint source, IPEndPoint local, CloseReason reason) => _services.Reports.Failed(connection, Direction.Inbound, source, local, reason);
}
