namespace AmbientMesh.Hbone.Hpack;

/// <summary>The dynamic table of RFC 7541 §2.3.2: newest entry first, bounded by the sum of entry sizes. One owner; not thread safe.</summary>
internal sealed class DynamicTable(int capacityBytes)
{
    private HeaderField[] _ring = new HeaderField[16];
    private int _newest;   // position of the newest entry in the ring

    public int Count { get; private set; }
    public int SizeBytes { get; private set; }
    public int CapacityBytes { get; private set; } = capacityBytes;

    /// <summary>The entry <paramref name="age"/> insertions old; 0 is the newest.</summary>
    public HeaderField At(int age) => _ring[(_newest + age) % _ring.Length];

    public void Resize(int capacityBytes)
    {
        CapacityBytes = capacityBytes;
        EvictTo(capacityBytes);
    }

    /// <summary>Adds the field, evicting the oldest ones; a field larger than the table just empties it (§4.4).</summary>
    public void Add(in HeaderField field)
    {
        EvictTo(Math.Max(CapacityBytes - field.Size, 0));
        if (field.Size > CapacityBytes) return;
        if (Count == _ring.Length) Grow();
        _newest = (_newest + _ring.Length - 1) % _ring.Length;
        _ring[_newest] = field;
        Count++;
        SizeBytes += field.Size;
    }

    private void EvictTo(int sizeBytes)
    {
        while (SizeBytes > sizeBytes)
        {
            ref var oldest = ref _ring[(_newest + Count - 1) % _ring.Length];
            SizeBytes -= oldest.Size;
            oldest = default;
            Count--;
        }
    }

    private void Grow()
    {
        var larger = new HeaderField[_ring.Length * 2];
        for (var age = 0; age < Count; age++) larger[age] = At(age);
        _ring = larger;
        _newest = 0;
    }
}
