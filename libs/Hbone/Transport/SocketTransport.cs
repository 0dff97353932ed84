using System.Net.Sockets;
using System.Runtime.CompilerServices;

namespace AmbientMesh.Hbone;

/// <summary>A TCP connection as a transport, on managed sockets. Owns the socket.</summary>
/// <remarks>Holds no receive memory while the peer is silent: it waits for readiness first and rents a buffer sized by what recent reads brought.</remarks>
public sealed class SocketTransport : ILendingTransport
{
    private readonly Socket _socket;
    private Block? _block;
    private int _start;
    private int _end;
    private bool _drained = true;   // the last read emptied the kernel's buffer
    private int _size = Block.Small;
    private int _shortReads;
    private int _closed;

    /// <param name="isPrepared">Whether the socket has its options already, TCP_NODELAY among them.</param>
    public SocketTransport(Socket socket, bool isPrepared = false)
    {
        _socket = socket;
        if (!isPrepared) socket.NoDelay = true;
    }

    public ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_start == _end) return Receive(buffer, cancellationToken);
        var count = Math.Min(buffer.Length, _end - _start);
        _block!.Array.AsSpan(_start, count).CopyTo(buffer.Span);
        Return(count);
        return ValueTask.FromResult(count);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<ReadOnlyMemory<byte>> BorrowAsync(CancellationToken cancellationToken = default)
    {
        if (_start < _end) return _block!.Array.AsMemory(_start, _end - _start);
        if (_drained) await Receive(Memory<byte>.Empty, cancellationToken);
        _block ??= Block.Rent(_size);
        var count = await Receive(_block.Array, cancellationToken);
        _drained = count < _block.Array.Length;
        Adapt(count, _block.Array.Length);
        _start = 0;
        _end = count;
        if (count == 0) ReleaseBlock();
        return count == 0 ? default : _block!.Array.AsMemory(0, count);
    }

    public void Return(int consumed)
    {
        _start += consumed;
        if (_start < _end) return;
        _start = _end = 0;
        // An idle connection keeps nothing; a busy one keeps its block until it should have another size.
        if (_drained || _block?.Array.Length != _size) ReleaseBlock();
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        try
        {
            while (!buffer.IsEmpty) buffer = buffer[await _socket.SendAsync(buffer, SocketFlags.None, cancellationToken)..];
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            throw Translate(e);
        }
    }

    public ValueTask ShutdownWriteAsync(CancellationToken cancellationToken = default)
    {
        try
        {
            _socket.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The connection is gone already; the reading side reports how.
        }
        return ValueTask.CompletedTask;
    }

    public void Abort(AbortReason reason = AbortReason.Cancelled)
    {
        if (Interlocked.Exchange(ref _closed, 1) != 0) return;
        try
        {
            _socket.LingerState = new LingerOption(true, 0);   // close sends RST
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Not connected any more: there is nobody to tell.
        }
        _socket.Dispose();
    }

    public ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _closed, 1) == 0) _socket.Dispose();
        return ValueTask.CompletedTask;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<int> Receive(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        try
        {
            return await _socket.ReceiveAsync(buffer, SocketFlags.None, cancellationToken);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            throw Translate(e);
        }
    }

    /// <summary>Grows at once when a read filled the buffer, shrinks after several reads that used a fraction of it.</summary>
    private void Adapt(int count, int capacity)
    {
        if (count == capacity && _size < Block.Large)
        {
            _size *= 4;
            _shortReads = 0;
        }
        else if (count < capacity / 8 && _size > Block.Small && ++_shortReads >= 8)
        {
            _size /= 4;
            _shortReads = 0;
        }
        else if (count >= capacity / 8) _shortReads = 0;
    }

    private void ReleaseBlock()
    {
        _block?.Release();
        _block = null;
    }

    private IOException Translate(Exception e) => e is SocketException socket
        ? new IOException(socket.SocketErrorCode switch
        {
            SocketError.ConnectionReset => "connection reset by peer",
            SocketError.Shutdown => "broken pipe",
            SocketError.OperationAborted => "connection closed locally",
            _ => socket.Message,
        }, e)
        : new IOException("connection closed locally", e);
}
