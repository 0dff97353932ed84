using System.Net.Security;
using System.Runtime.CompilerServices;

namespace AmbientMesh.Hbone;

/// <summary>The framework's TLS, where OpenSSL cannot be loaded.</summary>
/// <remarks>Per-byte speed: one write of any size becomes one send; one read takes all records that have arrived.</remarks>
internal sealed class SslStreamTransport : TlsTransport
{
    private const int MaxPlainRecord = 16 * 1024;
    private const int KeptOutput = Block.Small;

    private readonly ITransport _below;
    private readonly RecordStream _records;
    private readonly SslStream _tls;
    private bool _finished;

    public SslStreamTransport(ITransport below, RecordStream records, SslStream tls, TlsPeer peer)
    {
        _below = below;
        _records = records;
        _tls = tls;
        Peer = peer;
        records.Gathers = true;
    }

    public override TlsPeer Peer { get; }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var count = await _tls.ReadAsync(buffer, cancellationToken);
        while (count > 0 && buffer.Length - count >= MaxPlainRecord && _records.HasWholeRecord)
        {
            var more = await _tls.ReadAsync(buffer[count..], cancellationToken);
            if (more == 0) break;   // the end is reported again by the next read
            count += more;
        }
        return count;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        await _tls.WriteAsync(buffer, cancellationToken);
        await _records.SendAsync(cancellationToken);
        if (buffer.Length <= KeptOutput) _records.ReleaseWritten();
    }

    public override async ValueTask ShutdownWriteAsync(CancellationToken cancellationToken = default)
    {
        if (_finished) return;
        _finished = true;
        await _tls.ShutdownAsync();
        await _records.SendAsync(cancellationToken);
        await _below.ShutdownWriteAsync(cancellationToken);
    }

    public override void Abort(AbortReason reason = AbortReason.Cancelled) => _below.Abort(reason);

    public override async ValueTask DisposeAsync()
    {
        await _below.DisposeAsync();   // first: a read or write under way ends, so the session below is free to go
        await _tls.DisposeAsync();
    }
}
