using System.Net.Sockets;
using AmbientMesh.Hbone;
using AmbientMesh.Model;
using AmbientMesh.Ztunnel.Reporting;

namespace AmbientMesh.Ztunnel.Connections;

/// <summary>What the end of a relay means for log and metrics (L4 reference §3.6).</summary>
public static class RelayEnding
{
    /// <summary>Null when the end is no error: both sides finished, or a TCP peer simply went away.</summary>
    public static CloseReason? ReasonOf(RelayResult result, OpenConnection connection, Direction direction)
    {
        if (connection.Reason is { } closed) return closed;
        if (result.End is RelayEnd.Completed) return null;
        if (result.End is RelayEnd.Cancelled) return CloseReason.Drain;
        return result.Error switch
        {
            StreamResetException => CloseReason.CopyFailed(Leg(direction), "broken pipe", Reason.StreamReset),
            TunnelLostException lost => CloseReason.CopyFailed(Leg(direction), lost.Message, Reason.TunnelLost),
            { } error when IsPeerGone(error) => null,
            { } error => CloseReason.CopyFailed(Leg(direction), CloseReason.Describe(error)),
            null => null,
        };
    }

    // Which leg the tunnel is: outbound we send into it, inbound we receive from it.
    private static string Leg(Direction direction) => direction == Direction.Outbound ? "send" : "receive";

    private static bool IsPeerGone(Exception error)
    {
        for (var e = error; e is not null; e = e.InnerException)
            if (e is ObjectDisposedException or SocketException { SocketErrorCode: SocketError.ConnectionReset or SocketError.Shutdown or SocketError.NotConnected or SocketError.ConnectionAborted or SocketError.OperationAborted }) return true;
        return false;
    }
}
