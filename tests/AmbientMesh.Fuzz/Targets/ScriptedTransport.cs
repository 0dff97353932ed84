using AmbientMesh.Hbone;

namespace AmbientMesh.Fuzz.Targets;

/// <summary>A peer that says what the input says, in pieces, and keeps what it is told. Never waits.</summary>
/// <param name="piece">Bytes one read gives at most; at least 1.</param>
internal sealed class ScriptedTransport(byte[] script, int piece) : ITransport
{
    private readonly MemoryStream _told = new();
    private int _at;
    private volatile bool _aborted;

    public byte[] Told
    {
        get { lock (_told) return _told.ToArray(); }
    }

    public ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_aborted) return ValueTask.FromException<int>(new IOException("aborted"));
        if (buffer.IsEmpty) return new(0);
        var count = Math.Min(Math.Min(piece, buffer.Length), script.Length - _at);
        script.AsMemory(_at, count).CopyTo(buffer);
        _at += count;
        return new(count);
    }

    public ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_aborted) return ValueTask.FromException(new IOException("aborted"));
        lock (_told) _told.Write(buffer.Span);
        return default;
    }

    public ValueTask ShutdownWriteAsync(CancellationToken cancellationToken = default) => default;
    public void Abort(AbortReason reason = AbortReason.Cancelled) => _aborted = true;
    public ValueTask DisposeAsync() => default;
}
