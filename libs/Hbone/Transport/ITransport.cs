namespace AmbientMesh.Hbone;

/// <summary>One duplex byte stream: a TCP connection, a TLS session, or a stream inside an HBONE tunnel.</summary>
/// <remarks>The narrow seam of the byte path: relays, TLS and tunnels are written against it, so the engine below can change. One reader and one writer at
/// a time; the two sides are independent. Failures are <see cref="IOException"/> (peer or network) or <see cref="OperationCanceledException"/>.</remarks>
public interface ITransport : IAsyncDisposable
{
    /// <summary>Reads at least one byte; 0 means the peer finished its side. With an empty buffer it completes when reading would not wait.</summary>
    ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default);

    /// <summary>Takes all bytes; when it completes the buffer may be reused. Waits while the peer does not keep up.</summary>
    ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default);

    /// <summary>Finishes our side (TCP FIN, TLS close_notify, HTTP/2 END_STREAM); reading goes on. Calling it again does nothing.</summary>
    ValueTask ShutdownWriteAsync(CancellationToken cancellationToken = default);

    /// <summary>Ends both sides at once so that the peer sees an error, not an end (TCP RST, RST_STREAM). Safe from any thread, at any time, repeatedly.</summary>
    void Abort(AbortReason reason = AbortReason.Cancelled);
}

/// <summary>A transport that can lend its own receive memory, which saves a copy per byte.</summary>
public interface ILendingTransport : ITransport
{
    /// <summary>Waits for bytes and lends them until <see cref="Return"/>; empty means the peer finished its side.</summary>
    ValueTask<ReadOnlyMemory<byte>> BorrowAsync(CancellationToken cancellationToken = default);

    /// <summary>Gives the borrowed memory back; the first <paramref name="consumed"/> bytes are done with, the rest is lent again by the next call.</summary>
    void Return(int consumed);
}

/// <summary>Why a transport was cut. HTTP/2 streams put it into RST_STREAM.</summary>
public enum AbortReason
{
    /// <summary>No longer wanted: relay ended, policy changed, pod removed (CANCEL).</summary>
    Cancelled,
    /// <summary>The other leg of a relay was reset by its peer (CONNECT_ERROR, RFC 9113 §8.5).</summary>
    OtherSideReset,
    /// <summary>The peer broke the protocol carried inside (PROTOCOL_ERROR).</summary>
    ProtocolViolation,
}
