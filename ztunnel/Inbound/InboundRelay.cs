using System.Net.Sockets;
using AmbientMesh.Hbone;
using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.InPod;
using AmbientMesh.Ztunnel.Reporting;

namespace AmbientMesh.Ztunnel.Inbound;

/// <summary>The account of one inbound connection: opened when it is described, closed once with its reason.</summary>
internal sealed class InboundAccount
{
    private readonly ProxyServices _services;
    private readonly ConnectionDescription _description;
    private readonly long _started;

    public InboundAccount(ProxyServices services, ConnectionDescription description)
    {
        (_services, _description, _started) = (services, description, services.Clock.GetTimestamp());
        Counters = services.Metrics.Opened(description);
        services.AccessLog.Opened(description);
    }

    public ByteCounters Counters { get; }

    public void Close(CloseReason? reason, long received = 0, long sent = 0)
    {
        _services.Metrics.Closed(_description, reason);
        _services.AccessLog.Complete(_description, received, sent, _services.Clock.GetElapsedTime(_started), reason);
    }
}

/// <summary>What HBONE and plaintext connections share once they are admitted.</summary>
internal static class InboundRelay
{
    /// <summary>Keeps the inputs of the verdict with the connection, and judges again what changed while it was being set up.</summary>
    public static void Track(PodContext pod, OpenConnection connection, ConnectionView view, in ConnectionFacts facts)
    {
        connection.View = view;
        connection.Facts = facts;
        if (pod.Services.Mesh.Current is { } mesh && mesh.FindWorkload(pod.Info) is { } local && Authorizer.Decide(mesh, local, facts) is not AuthorizationVerdict.Allowed)
            connection.Close(CloseReason.PolicyChange);
    }

    /// <summary>Connects to the application; it sees the client's address where that is possible.</summary>
    /// <exception cref="SocketException">It does not listen.</exception>
    public static ValueTask<Socket> ConnectAsync(PodContext pod, InboundDecision.Admitted admitted, System.Net.IPAddress client, CancellationToken cancellationToken) =>
        admitted.IsFromLoopback
            ? pod.Sockets.ConnectFromLoopbackAsync(admitted.Upstream, cancellationToken)
            : pod.Sockets.ConnectAsClientAsync(client, admitted.Upstream, cancellationToken);

    /// <summary>Carries bytes until the end and closes the account.</summary>
    public static async Task CarryAsync(OpenConnection connection, ITransport client, ITransport application, InboundAccount account)
    {
        var result = await connection.RelayAsync(client, application, account.Counters);
        account.Close(RelayEnding.ReasonOf(result, connection, Direction.Inbound), result.FirstToSecondBytes, result.SecondToFirstBytes);
    }

    public static ConnectionDescription Describe(MeshSnapshot mesh, Workload local, System.Net.IPEndPoint source, System.Net.IPEndPoint destination, PeerLabels? peer) => new()
    {
        Direction = Direction.Inbound,
        Source = source,
        Destination = destination,
        SourcePeer = peer,
        DestinationPeer = PeerLabels.Of(local),
        DestinationIdentity = local.Identity,
        Service = DestinationService.Of(mesh, local, null, (ushort)destination.Port),
    };
}
