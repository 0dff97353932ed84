using System.Buffers.Binary;

namespace AmbientMesh.Hbone;

/// <summary>What lies between the TLS engine and the wire: gathers records written into one send, and reads many records with one receive.</summary>
/// <remarks>Per-byte speed. During the handshake every write is sent at once; afterwards <see cref="FlushAsync"/> decides.</remarks>
internal sealed class RecordStream(ITransport transport) : Stream
{
    private const int ReadAheadBytes = Block.Large;
    private const int RecordHeader = 5;

    private byte[] _read = [];
    private int _start;
    private int _end;
    private int _readSize = Block.Small;
    private readonly OutputBuffer _written = new(Block.Small);

    /// <summary>Whether writes are kept until flushed; off during the handshake, where the engine waits for answers.</summary>
    public bool Gathers { get; set; }

    /// <summary>Whether a complete record is here, so that the next read of the engine needs no wire.</summary>
    public bool HasWholeRecord =>
        _end - _start >= RecordHeader && _end - _start >= RecordHeader + BinaryPrimitives.ReadUInt16BigEndian(_read.AsSpan(_start + 3));

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_start == _end) return buffer.IsEmpty ? WaitAsync(cancellationToken) : FillAsync(buffer, cancellationToken);
        return ValueTask.FromResult(Take(buffer.Span));
    }

    private int Take(Span<byte> buffer)
    {
        var count = Math.Min(buffer.Length, _end - _start);
        _read.AsSpan(_start, count).CopyTo(buffer);
        _start += count;
        return count;
    }

    /// <summary>Waits for the peer without holding a buffer.</summary>
    private ValueTask<int> WaitAsync(CancellationToken cancellationToken)
    {
        ReleaseRead();
        return transport.ReadAsync(Memory<byte>.Empty, cancellationToken);
    }

    [System.Runtime.CompilerServices.AsyncMethodBuilder(typeof(System.Runtime.CompilerServices.PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<int> FillAsync(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        if (_read.Length < _readSize)
        {
            ReleaseRead();
            _read = BytePool.Rent(_readSize);
        }
        _start = 0;
        _end = 0;
        _end = await transport.ReadAsync(_read, cancellationToken);
        if (_end == _read.Length && _readSize < ReadAheadBytes) _readSize *= 4;
        return Take(buffer.Span);
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (!Gathers) return transport.WriteAsync(buffer, cancellationToken);
        _written.Append(buffer.Span);
        return ValueTask.CompletedTask;
    }

    /// <summary>Sends what was gathered.</summary>
    [System.Runtime.CompilerServices.AsyncMethodBuilder(typeof(System.Runtime.CompilerServices.PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask SendAsync(CancellationToken cancellationToken)
    {
        if (_written.Count == 0) return;
        await transport.WriteAsync(_written.Written, cancellationToken);
        _written.Reset();
    }

    /// <summary>Gives the memory of an idle session back.</summary>
    public void ReleaseWritten() => _written.Release();

    public override Task FlushAsync(CancellationToken cancellationToken) => Gathers ? SendAsync(cancellationToken).AsTask() : Task.CompletedTask;

    protected override void Dispose(bool disposing)
    {
        base.Dispose(disposing);
        ReleaseRead();
        _written.Release();
    }

    private void ReleaseRead()
    {
        if (_read.Length > 0) BytePool.Return(_read);
        _read = [];
        _start = _end = 0;
    }

    public override bool CanRead => true;
    public override bool CanSeek => false;
    public override bool CanWrite => true;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }
    public override void Flush() { }
    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException("The byte path is asynchronous.");
    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException("The byte path is asynchronous.");
    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();
}
