namespace AmbientMesh.Hbone.OpenSsl;

/// <summary>Bytes received and not yet taken; its memory is pooled, sized by what recent reads brought, and gone while idle. One user at a time.</summary>
internal sealed class InputWindow
{
    private byte[] _array = [];
    private int _start;
    private int _end;
    private int _size = Block.Small;

    public bool IsEmpty => _start == _end;

    public int Take(Span<byte> buffer)
    {
        var count = Math.Min(buffer.Length, _end - _start);
        _array.AsSpan(_start, count).CopyTo(buffer);
        _start += count;
        return count;
    }

    /// <summary>Room for the next receive; only while empty.</summary>
    public Memory<byte> Rent()
    {
        if (_array.Length < _size)
        {
            Release();
            _array = BytePool.Rent(_size);
        }
        return _array;
    }

    /// <summary>A receive into <see cref="Rent"/> brought <paramref name="count"/> bytes.</summary>
    public void Filled(int count)
    {
        _start = 0;
        _end = count;
        if (count == _array.Length && _size < Block.Large) _size *= 4;
    }

    public void Release()
    {
        if (_array.Length > 0) BytePool.Return(_array);
        _array = [];
        _start = _end = 0;
    }
}
