using System.Net;
using System.Net.Sockets;
using AmbientMesh.Hbone;
using AmbientMesh.Linux;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.InPod;
using AmbientMesh.Ztunnel.Reporting;

namespace AmbientMesh.Ztunnel.Inbound;

/// <summary>Serves connections that reach the pod without HBONE (port 15006): policy without an identity, then bytes.</summary>
public sealed class PlaintextProxy(PodContext pod)
{
    private readonly ProxyServices _services = pod.Services;

    /// <summary>Serves one captured connection to its end; every failure becomes a reason in the access log.</summary>
    public async Task ServeAsync(Socket accepted)
    {
        _services.Metrics.Sockets(Direction.Inbound).Increment();
        using var connection = pod.Connections.Begin();
        await using var client = new SocketTransport(accepted, isPrepared: true);
        var source = Listener.Canonical(accepted.RemoteEndPoint);
        var destination = accepted.OriginalDestination() ?? Listener.Canonical(accepted.LocalEndPoint);
        try
        {
            await AdmitAsync(connection, client, source, destination);
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or IOException)
        {
            Reject(connection, client, source, destination, connection.Reason ?? CloseReason.ApplicationUnreachable(e, destination));
        }
        catch (Exception e)
        {
            Reject(connection, client, source, destination, CloseReason.Internal(e));
            throw;
        }
        finally
        {
            _services.Metrics.Sockets(Direction.Inbound).Decrement();
        }
    }

    private async Task AdmitAsync(OpenConnection connection, SocketTransport client, IPEndPoint source, IPEndPoint destination)
    {
        if (PlaintextAdmission.Decide(destination) is { } selfCall)
        {
            Reject(connection, client, source, destination, selfCall);
            return;
        }
        if (await pod.LocalWorkloadAsync(connection.Closing) is not { } local)
        {
            Reject(connection, client, source, destination, CloseReason.LocalWorkloadUnknown(pod.Info));
            return;
        }
        var peer = await _services.Sources.FindAsync(_services, source.Address, connection.Closing);
        var mesh = _services.Mesh.Current;
        var account = _services.Reports.Opened(connection, InboundRelay.Describe(mesh, local, source, destination, peer is null ? null : PeerLabels.Of(peer)));
        if (PolicyJudge.Judge(pod, mesh, local, new ConnectionFacts(null, source.Address, destination)) is { } refusal)
        {
            client.Abort();
            account.Close(refusal);
            return;
        }
        await ForwardAsync(connection, client, source, destination, account);
    }

    private async Task ForwardAsync(OpenConnection connection, SocketTransport client, IPEndPoint source, IPEndPoint destination, ConnectionAccount account)
    {
        SocketTransport application;
        try
        {
            application = new SocketTransport(await pod.Sockets.ConnectAsClientAsync(source.Address, destination, connection.Closing), isPrepared: true);
        }
        catch (Exception e) when (e is SocketException or IOException or OperationCanceledException)
        {
            client.Abort();
            account.Close(connection.Reason ?? CloseReason.ApplicationUnreachable(e, destination));
            return;
        }
        await using (application)
        {
            InboundRelay.Track(pod, connection, new ConnectionView(Direction.Inbound, source, destination.ToString(), destination.ToString(), "TCP"), new ConnectionFacts(null, source.Address, destination));
            await InboundRelay.CarryAsync(connection, client, application, account);
        }
    }

    private void Reject(OpenConnection connection, SocketTransport client, IPEndPoint source, IPEndPoint destination, CloseReason reason)
    {
        _services.Reports.Failed(connection, Direction.Inbound, source, destination, reason);
        client.Abort();
    }
}
