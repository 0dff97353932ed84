namespace AmbientMesh.Hbone;

/// <summary>A verified TLS session as a transport. Owns the session and the transport below.</summary>
public abstract class TlsTransport : ITransport
{
    /// <summary>Who is at the other end.</summary>
    public abstract TlsPeer Peer { get; }

    /// <inheritdoc/>
    public abstract ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default);

    /// <inheritdoc/>
    public abstract ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default);

    /// <inheritdoc/>
    public abstract ValueTask ShutdownWriteAsync(CancellationToken cancellationToken = default);

    /// <inheritdoc/>
    public abstract void Abort(AbortReason reason = AbortReason.Cancelled);

    /// <inheritdoc/>
    public abstract ValueTask DisposeAsync();
}
