using AmbientMesh.Hbone.Http2;

namespace AmbientMesh.Hbone;

/// <summary>One stream ended before its time; the tunnel and its other streams go on.</summary>
public sealed class StreamResetException(ErrorCode code, bool byPeer)
    : IOException(byPeer ? $"stream reset by peer ({code})" : $"stream closed locally ({code})")
{
    public ErrorCode Code => code;
    public bool ByPeer => byPeer;
}

/// <summary>TLS ended the connection after its handshake: the peer sent an alert (in TLS 1.3 also when it refuses a client's certificate), or a record that is none.</summary>
public sealed class TlsRecordException(string message) : IOException(message);

/// <summary>The tunnel ended, and every stream in it.</summary>
public sealed class TunnelLostException(string message, Exception? inner = null) : IOException(message, inner);
