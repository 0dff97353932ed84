using System.Buffers;

namespace AmbientMesh.Hbone;

/// <summary>A pooled byte buffer that is appended to, sent, and reset. Holds no memory while empty after <see cref="Release"/>. Not thread safe.</summary>
internal sealed class OutputBuffer(int initialSize) : IBufferWriter<byte>
{
    private byte[] _array = [];

    public int Count { get; private set; }
    public ReadOnlyMemory<byte> Written => _array.AsMemory(0, Count);
    public int Free => _array.Length - Count;

    public void Advance(int count) => Count += count;

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Reserve(Math.Max(sizeHint, 1));
        return _array.AsMemory(Count);
    }

    public Span<byte> GetSpan(int sizeHint = 0)
    {
        Reserve(Math.Max(sizeHint, 1));
        return _array.AsSpan(Count);
    }

    public void Append(ReadOnlySpan<byte> bytes)
    {
        Reserve(bytes.Length);
        bytes.CopyTo(_array.AsSpan(Count));
        Count += bytes.Length;
    }

    /// <summary>Makes room for <paramref name="bytes"/> more.</summary>
    public void Reserve(int bytes)
    {
        if (Free >= bytes) return;
        var larger = BytePool.Rent(Math.Max(initialSize, Math.Max(Count + bytes, _array.Length * 2)));
        _array.AsSpan(0, Count).CopyTo(larger);
        if (_array.Length > 0) BytePool.Return(_array);
        _array = larger;
    }

    public void Reset() => Count = 0;

    /// <summary>Forgets the content and gives the memory back.</summary>
    public void Release()
    {
        Count = 0;
        if (_array.Length > 0) BytePool.Return(_array);
        _array = [];
    }
}
