using AmbientMesh.Hbone;
using AmbientMesh.Model;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.Outbound;

namespace AmbientMesh.Ztunnel.Socks;

/// <summary>A connection asked for through SOCKS5: the client is told when it stands, or why it does not.</summary>
public sealed class SocksIntake(ITransport application) : OutboundIntake(application)
{
    private bool _answered;

    public override ValueTask EstablishedAsync(CancellationToken cancellationToken)
    {
        _answered = true;
        return Application.WriteAsync(SocksMessages.Write(SocksReply.Succeeded), cancellationToken);
    }

    public override async ValueTask RefusedAsync(CloseReason reason)
    {
        if (_answered)
        {
            Application.Abort();
            return;
        }
        _answered = true;
        try
        {
            await Application.WriteAsync(SocksMessages.Write(ReplyTo(reason.Reason)), CancellationToken.None);
            await Application.ShutdownWriteAsync(CancellationToken.None);
        }
        catch (IOException)
        {
            // The client did not wait for the answer.
        }
    }

    /// <summary>The nearest word that SOCKS5 has for a reason.</summary>
    public static SocksReply ReplyTo(Reason reason) => reason switch
    {
        Reason.SelfCall or Reason.DeniedByPeer or Reason.PeerNotTrusted or Reason.CertificateRevoked => SocksReply.NotAllowed,
        Reason.NoRoute or Reason.RemoteNetwork or Reason.UnknownGateway => SocksReply.NetworkUnreachable,
        Reason.Unreachable or Reason.NoHealthyUpstream or Reason.NoAddress or Reason.NameUnresolved or Reason.UnknownWaypoint or Reason.ConnectTimeout or Reason.HboneTimeout => SocksReply.HostUnreachable,
        Reason.ConnectRefused or Reason.RefusedByPeer => SocksReply.ConnectionRefused,
        _ => SocksReply.GeneralFailure,
    };
}
