namespace AmbientMesh.Hbone;

/// <summary>Parameters of one tunnel; the defaults are those of the reference (L4 contracts §3.4) and its environment variables.</summary>
public sealed record HboneOptions
{
    /// <summary>Bytes a peer may send on a stream before we consumed any; 64 KiB to 16 MiB (HTTP2_STREAM_WINDOW_SIZE).</summary>
    public int StreamWindowBytes { get; init; } = 4 << 20;
    /// <summary>The same for the whole connection (HTTP2_CONNECTION_WINDOW_SIZE).</summary>
    public int ConnectionWindowBytes { get; init; } = 16 << 20;
    /// <summary>How far a stream's window may grow with use; it grows while a fast reader drains it faster than credit travels.</summary>
    public int MaxStreamWindowBytes { get; init; } = 16 << 20;
    /// <summary>Largest frame accepted; 16 KiB to 16 MiB − 1 (HTTP2_FRAME_SIZE).</summary>
    public int MaxFrameBytes { get; init; } = 1 << 20;
    /// <summary>Streams a client may have open on a connection of ours as server; further ones get REFUSED_STREAM.</summary>
    public int MaxConcurrentStreams { get; init; } = 200;
    /// <summary>Decoded header list limit; null takes the reference's: 16 KiB as client, 64 KiB as server.</summary>
    public int? MaxHeaderListBytes { get; init; }
    /// <summary>Silence before a keep-alive PING, counted from the last answer.</summary>
    public TimeSpan PingInterval { get; init; } = TimeSpan.FromSeconds(10);
    /// <summary>How long a PING may stay unanswered before the connection is dropped.</summary>
    public TimeSpan PingTimeout { get; init; } = TimeSpan.FromSeconds(20);
    /// <summary>How long the peer may take for its preface, and for one header block from first to last frame (T-09).</summary>
    public TimeSpan HeaderTimeout { get; init; } = TimeSpan.FromSeconds(5);
    /// <summary>Bytes kept for a request that is not answered yet; a client that sends more before it knows has its stream reset (T-13).</summary>
    public int MaxEarlyBytes { get; init; } = 64 << 10;
    /// <summary>Whether readers and writers of streams continue on the connection's own thread. Right for relays, which never block; switch it off when
    /// code of unknown duration reads streams.</summary>
    public bool InlineContinuations { get; init; } = true;

    /// <summary>Every problem, each naming its setting; empty when usable.</summary>
    public IEnumerable<string> Problems()
    {
        if (StreamWindowBytes is < 65535 or > 16 << 20) yield return $"StreamWindowBytes is {StreamWindowBytes}; expected 65535 to {16 << 20}.";
        if (ConnectionWindowBytes is < 65535 or > 1 << 30) yield return $"ConnectionWindowBytes is {ConnectionWindowBytes}; expected 65535 to {1 << 30}.";
        if (MaxFrameBytes is < 16384 or > 0xff_ffff) yield return $"MaxFrameBytes is {MaxFrameBytes}; expected 16384 to {0xff_ffff}.";
        if (MaxEarlyBytes is < 0 or > 16 << 20) yield return $"MaxEarlyBytes is {MaxEarlyBytes}; expected 0 to {16 << 20}.";
        if (MaxConcurrentStreams < 1) yield return $"MaxConcurrentStreams is {MaxConcurrentStreams}; expected at least 1.";
        if (MaxHeaderListBytes is < 1024 or > 1 << 20) yield return $"MaxHeaderListBytes is {MaxHeaderListBytes}; expected 1024 to {1 << 20}.";
    }
}
