using System.Runtime.CompilerServices;
using AmbientMesh.Hbone.Http2;

namespace AmbientMesh.Hbone;

/// <summary>One connected stream of a tunnel (RFC 9113 §8.5): a byte stream both ways, each direction finished on its own.</summary>
/// <remarks>Reading sees the end (0 bytes) after END_STREAM, and also after RST_STREAM NO_ERROR or CANCEL, then <see cref="WasReset"/> is true (L4 contracts
/// §3.6). Other resets and a lost tunnel are <see cref="IOException"/>. Disposing a stream whose two sides are not both finished resets it (CANCEL).</remarks>
public sealed class HboneStream : ILendingTransport
{
    private readonly HboneConnection _connection;
    private readonly ReceiveQueue _received;
    private readonly Signal _readable;
    private readonly Signal _written;
    private readonly StreamLink[] _links = new StreamLink[4];
    private bool _readWaiting;
    private bool _disposed;

    internal HboneStream(HboneConnection connection, int receiveWindow)
    {
        _connection = connection;
        _received = new ReceiveQueue(receiveWindow);
        _readable = new Signal(connection.Options.InlineContinuations);
        _written = new Signal(connection.Options.InlineContinuations);
    }

    /// <summary>Who is at the tunnel's other end; null without TLS.</summary>
    public TlsPeer? Peer => _connection.Peer;

    /// <summary>HTTP/2 stream id; odd, unique in its tunnel.</summary>
    public int Id { get; internal set; }

    /// <summary>Whether either end reset the stream, or its tunnel was lost.</summary>
    public bool IsReset { get; private set; }

    /// <summary>Whether the peer reset the stream, with any code.</summary>
    public bool WasReset => ResetByPeer is not null;

    /// <summary>The code of the peer's RST_STREAM; null when there was none.</summary>
    public ErrorCode? ResetByPeer { get; private set; }

    // Guarded by the writer's gate.
    internal ReadOnlyMemory<byte> Pending { get; set; }
    internal long SendWindow { get; set; }
    internal bool SendFinished { get; set; }
    internal bool FinishQueued { get; set; }
    internal bool WriteWaiting { get; private set; }
    internal bool HasSomethingToSend => !Pending.IsEmpty || FinishQueued;

    // Guarded by the connection's stream table.
    internal bool LocalDone { get; set; }
    internal bool RemoteDone { get; set; }
    internal TaskCompletionSource<ConnectOutcome>? Connecting { get; init; }
    internal bool CarriedData { get; private set; }

    /// <summary>At the server end, until the request is answered.</summary>
    internal bool AwaitsAnswer { get; set; }
    internal int EarlyBytes { get; private set; }

    /// <summary>At the server end: a request other than CONNECT.</summary>
    internal bool TakesTrailers { get; init; }

    internal ref StreamLink Link(QueueKind kind) => ref _links[(int)kind];

    /// <inheritdoc/>
    public ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_received.Read(buffer.Span) is > 0 and var count)
        {
            _connection.Consumed(this, count);
            return ValueTask.FromResult(count);
        }
        return ReadSlowly(buffer, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask<ReadOnlyMemory<byte>> BorrowAsync(CancellationToken cancellationToken = default) =>
        _received.TryBorrow(out var memory) ? ValueTask.FromResult(memory) : BorrowSlowly(cancellationToken);

    /// <inheritdoc/>
    public void Return(int consumed)
    {
        _received.Return(consumed);
        _connection.Consumed(this, consumed);
    }

    /// <inheritdoc/>
    public async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (buffer.IsEmpty) return;
        cancellationToken.ThrowIfCancellationRequested();
        // Cancelling leaves a part of the bytes sent, so the stream cannot go on.
        await using var registration = cancellationToken.UnsafeRegister(static s => ((HboneStream)s!).Abort(), this);
        await Write(buffer);
    }

    /// <summary>As <see cref="WriteAsync"/> without cancellation and without allocation.</summary>
    internal ValueTask Write(ReadOnlyMemory<byte> buffer)
    {
        if (buffer.IsEmpty) return ValueTask.CompletedTask;
        lock (_connection.Writer.Gate)
        {
            if (WriteWaiting) throw new InvalidOperationException("A write is already under way on this stream.");
            if (IsReset || SendFinished) return ValueTask.FromException(Broken());
            _written.Reset();
            WriteWaiting = true;
        }
        if (!_connection.Writer.TryWrite(this, buffer)) FailWrite();
        return _written.WaitAsync();
    }

    /// <inheritdoc/>
    public ValueTask ShutdownWriteAsync(CancellationToken cancellationToken = default)
    {
        _connection.Writer.Finish(this);
        return ValueTask.CompletedTask;
    }

    /// <inheritdoc/>
    public void Abort(AbortReason reason = AbortReason.Cancelled) => _connection.ResetLocally(this, reason switch
    {
        AbortReason.OtherSideReset => ErrorCode.ConnectError,
        AbortReason.ProtocolViolation => ErrorCode.ProtocolError,
        _ => ErrorCode.Cancel,
    });

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        if (_disposed) return ValueTask.CompletedTask;
        _disposed = true;
        // Our END_STREAM may still be on its way out; a reset now would take the orderly end away from the peer.
        if (!_connection.IsDone(this) && !_connection.IsFinishing(this)) Abort();
        Discard();
        return ValueTask.CompletedTask;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<int> ReadSlowly(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        while (true)
        {
            if (buffer.IsEmpty && _received.HasBytes) return 0;
            if (_received.Read(buffer.Span) is > 0 and var count)
            {
                _connection.Consumed(this, count);
                return count;
            }
            if (_received.AtEnd) return 0;
            await Readable(cancellationToken);
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<ReadOnlyMemory<byte>> BorrowSlowly(CancellationToken cancellationToken)
    {
        while (true)
        {
            if (_received.TryBorrow(out var memory)) return memory;
            if (_received.AtEnd) return default;
            await Readable(cancellationToken);
        }
    }

    /// <summary>Waits until there are bytes, an end or a failure; throws the failure when there is nothing left to read.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask Readable(CancellationToken cancellationToken)
    {
        lock (_received.Gate)
        {
            if (_received.HasBytes || _received.AtEnd) return;
            if (_received.Failure is { } failure) throw failure;
            if (_readWaiting) throw new InvalidOperationException("A read is already under way on this stream.");
            _readable.Reset();
            _readWaiting = true;
            _received.ReaderWaits = true;
        }
        if (!cancellationToken.CanBeCanceled)
        {
            await _readable.WaitAsync();
            return;
        }
        await using var registration = cancellationToken.UnsafeRegister(static (s, token) => ((HboneStream)s!).CancelRead(token), this);
        await _readable.WaitAsync();
    }

    private void CancelRead(CancellationToken token)
    {
        lock (_received.Gate)
        {
            if (!_readWaiting) return;
            _readWaiting = _received.ReaderWaits = false;
        }
        _readable.Fail(new OperationCanceledException(token));
    }

    // What the connection's reader thread does with the stream.

    /// <summary>Counts a DATA frame against the stream's window; false when the peer exceeded it.</summary>
    internal bool TakeWindow(int flowBytes)
    {
        if (flowBytes > 0) CarriedData = true;
        if (AwaitsAnswer) EarlyBytes += flowBytes;
        return _received.TakeWindow(flowBytes);
    }

    /// <summary>Keeps the bytes, by reference or by copy; the count is to be credited at once when nobody will read them.</summary>
    internal bool Deliver(Block block, int offset, int count, bool mayCompact) => _received.Deliver(block, offset, count, mayCompact);

    /// <summary>The credit to announce after <paramref name="consumed"/> more bytes were used; 0 while it is not worth a frame.</summary>
    internal int Credit(int consumed, TimeSpan? roundTrip, int maxWindow, TimeProvider clock) => _received.Credit(consumed, roundTrip, maxWindow, clock);

    internal void RemoteFinished() => _received.Finish();

    /// <summary>Wakes the reader if it waits and there is something for it.</summary>
    internal void Notify()
    {
        lock (_received.Gate)
        {
            if (!_readWaiting || !(_received.HasBytes || _received.AtEnd || _received.Failure is not null)) return;
            _readWaiting = _received.ReaderWaits = false;
        }
        _readable.Set();
    }

    /// <summary>Marks the stream reset; the caller holds the writer's gate.</summary>
    internal void MarkReset()
    {
        IsReset = true;
        Pending = default;
        FinishQueued = false;
    }

    /// <summary>After <see cref="MarkReset"/>: tells reader and writer. A reset by the peer lets what arrived before be read.</summary>
    internal void EndByReset(ErrorCode code, bool byPeer, ConnectOutcome? outcome = null)
    {
        if (byPeer) ResetByPeer = code;
        if (byPeer && code is ErrorCode.NoError or ErrorCode.Cancel) _received.Finish();
        else _received.Fail(new StreamResetException(code, byPeer));
        if (!byPeer) Discard();
        FailWrite();
        Notify();
        Connecting?.TrySetResult(outcome ?? (byPeer && code == ErrorCode.RefusedStream
            ? new ConnectOutcome.NotProcessed("the peer refused the stream (REFUSED_STREAM)")
            : new ConnectOutcome.Failed(new StreamResetException(code, byPeer))));
    }

    internal void EndByLoss(Exception failure)
    {
        _received.Fail(failure);
        FailWrite();
        Notify();
        Connecting?.TrySetResult(new ConnectOutcome.Failed(failure));
    }

    internal void CompleteWrite()
    {
        lock (_connection.Writer.Gate)
        {
            if (!WriteWaiting || !Pending.IsEmpty) return;
            WriteWaiting = false;
        }
        _written.Set();
    }

    private void FailWrite()
    {
        lock (_connection.Writer.Gate)
        {
            Pending = default;
            if (!WriteWaiting) return;
            WriteWaiting = false;
        }
        _written.Fail(Broken());
    }

    private IOException Broken() => _connection.Failure is { } lost ? new TunnelLostException(lost.Message, lost)
        : ResetByPeer is { } code ? new StreamResetException(code, byPeer: true)
        : new IOException("broken pipe");

    private void Discard()
    {
        var unread = _received.Discard();
        if (unread > 0) _connection.CreditConnection(unread);
    }
}
