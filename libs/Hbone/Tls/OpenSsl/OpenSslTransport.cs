using System.Runtime.CompilerServices;

namespace AmbientMesh.Hbone.OpenSsl;

/// <summary>TLS by OpenSSL directly, over any transport: ciphertext goes from the engine into the send buffer and from the receive buffer into the engine,
/// and nothing else touches it. One write of any size becomes one send.</summary>
/// <remarks>Against <see cref="System.Net.Security.SslStream"/> this saves three copies per byte on each side and the making of a context per handshake.</remarks>
internal sealed class OpenSslTransport(ITransport below, Session session) : TlsTransport
{
    private bool _finished;
    private int _disposed;
    private int _freed;
    private int _users;   // read or write under way; the last one out frees the session after disposal

    public override TlsPeer Peer => _peer ?? throw new InvalidOperationException("The handshake is not done.");
    private TlsPeer? _peer;

    /// <summary>Runs the handshake; the session's judge names the peer.</summary>
    /// <exception cref="IOException">It failed; the alert, if any, has been sent.</exception>
    public async Task HandshakeAsync(Func<TlsPeer?> peer, CancellationToken cancellationToken)
    {
        while (true)
        {
            var step = session.Handshake();
            await SendAsync(cancellationToken);
            switch (step)
            {
                case StepResult.Done:
                    _peer = peer();
                    return;
                case StepResult.WantsInput:
                    var count = await below.ReadAsync(session.Input.Rent(), cancellationToken);
                    if (count == 0) throw new IOException("the peer closed the connection during the handshake");
                    session.Input.Filled(count);
                    await Task.Yield();   // the next step may cost a millisecond, which a socket engine's thread owes to the relays
                    break;
                default:
                    throw new IOException(session.Error);
            }
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        Enter();
        try
        {
            if (buffer.IsEmpty)
            {
                if (session.HasInput) return 0;
                session.Input.Release();   // an idle session holds no receive memory
                return await below.ReadAsync(Memory<byte>.Empty, cancellationToken);
            }
            while (true)
            {
                switch (session.Read(buffer.Span, out var count))
                {
                    case StepResult.Done: return count;
                    case StepResult.Finished: return 0;
                    case StepResult.Failed: throw new TlsRecordException(session.Error);
                }
                var received = await below.ReadAsync(session.Input.Rent(), cancellationToken);
                if (received == 0) return 0;
                session.Input.Filled(received);
            }
        }
        finally
        {
            Leave();
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        Enter();
        try
        {
            if (_finished) throw new IOException("broken pipe");
            if (!session.Write(buffer.Span)) throw new IOException(session.Error);
            await SendAsync(cancellationToken);
        }
        finally
        {
            Leave();
        }
    }

    public override async ValueTask ShutdownWriteAsync(CancellationToken cancellationToken = default)
    {
        Enter();
        try
        {
            if (_finished) return;
            _finished = true;
            session.Shutdown();
            await SendAsync(cancellationToken);
            await below.ShutdownWriteAsync(cancellationToken);
        }
        finally
        {
            Leave();
        }
    }

    public override void Abort(AbortReason reason = AbortReason.Cancelled) => below.Abort(reason);

    public override async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0) return;
        Interlocked.Increment(ref _users);
        await below.DisposeAsync();   // reads and writes under way end with it
        Leave();
    }

    private void Enter()
    {
        Interlocked.Increment(ref _users);
        if (Volatile.Read(ref _disposed) == 0) return;
        Leave();
        throw new IOException("connection closed locally");
    }

    private void Leave()
    {
        if (Interlocked.Decrement(ref _users) != 0 || Volatile.Read(ref _disposed) == 0) return;
        if (Interlocked.Exchange(ref _freed, 1) == 0) session.Dispose();
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask SendAsync(CancellationToken cancellationToken)
    {
        var output = session.TakeOutput();
        if (!output.IsEmpty) await below.WriteAsync(output, cancellationToken);
        session.Sent();
    }
}
