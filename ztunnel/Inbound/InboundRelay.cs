using System.Net.Sockets;
using AmbientMesh.Hbone;
using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.InPod;
using AmbientMesh.Ztunnel.Reporting;

namespace AmbientMesh.Ztunnel.Inbound;

/// <summary>What HBONE and plaintext connections share once they are admitted.</summary>
internal static class InboundRelay
{
    /// <summary>Keeps the inputs of the verdict with the connection, and judges again what changed while it was being set up.</summary>
    public static void Track(PodContext pod, OpenConnection connection, ConnectionView view, in ConnectionFacts facts)
    {
        connection.View = view;
        connection.Facts = facts;
        var mesh = pod.Services.Mesh.Current;
        if (mesh.FindWorkload(pod.Info) is not { } local) return;
        if (PolicyJudge.RefusalOfOpen(mesh, local, Authorizer.PoliciesOf(mesh, local), facts, pod.Services.Settings.RequireWaypoint) is { } refusal) connection.Close(refusal);
    }

    /// <summary>Connects to the application; it sees the client's address where that is possible.</summary>
    /// <exception cref="SocketException">It does not listen.</exception>
    public static ValueTask<Socket> ConnectAsync(PodContext pod, InboundDecision.Admitted admitted, System.Net.IPAddress client, CancellationToken cancellationToken) =>
        admitted.IsFromLoopback
            ? pod.Sockets.ConnectFromLoopbackAsync(admitted.Upstream, cancellationToken)
            : pod.Sockets.ConnectAsClientAsync(client, admitted.Upstream, cancellationToken);

    /// <summary>Carries bytes until the end and closes the account.</summary>
    public static async Task CarryAsync(OpenConnection connection, ITransport client, ITransport application, ConnectionAccount account)
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
