using AmbientMesh.Hbone.Http2;

namespace AmbientMesh.Hbone;

/// <summary>One stream ended before its time; the tunnel and its other streams go on.</summary>
public sealed class StreamResetException(ErrorCode code, bool byPeer)
    : IOException(byPeer ? $"stream reset by peer ({code})" : $"stream closed locally ({code})")
{
    public ErrorCode Code => code;
    public bool ByPeer => byPeer;
}

/// <summary>The tunnel ended, and every stream in it.</summary>
public sealed class TunnelLostException(string message, Exception? inner = null) : IOException(message, inner);
