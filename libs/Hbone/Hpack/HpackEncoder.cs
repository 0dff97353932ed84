using System.Buffers;
using System.Text;

namespace AmbientMesh.Hbone.Hpack;

/// <summary>Encodes header lists for one connection (RFC 7541). Every field enters the dynamic table, and strings are Huffman coded when that is
/// shorter, which is what the reference client does. Not thread safe: blocks must be sent in the order they were encoded.</summary>
public sealed class HpackEncoder
{
    private const int DefaultTableBytes = 4096;
    private readonly DynamicTable _table = new(DefaultTableBytes);
    private int? _announce;   // smallest and final new capacity, not yet told to the peer
    private int _smallest;

    /// <summary>Applies the peer's SETTINGS_HEADER_TABLE_SIZE; memory stays at 4 KiB even if the peer offers more.</summary>
    public void LimitTable(uint peerLimitBytes)
    {
        var capacity = (int)Math.Min(peerLimitBytes, DefaultTableBytes);
        if (capacity == _table.CapacityBytes && _announce is null) return;
        _smallest = _announce is null ? capacity : Math.Min(_smallest, capacity);
        _announce = capacity;
        _table.Resize(capacity);
    }

    /// <summary>Appends the block for <paramref name="fields"/> to <paramref name="output"/>.</summary>
    public void Encode(ReadOnlySpan<HeaderField> fields, IBufferWriter<byte> output)
    {
        if (_announce is { } capacity)
        {
            if (_smallest < capacity) WriteInteger(output, 0x20, 5, _smallest);   // §4.2: both the minimum and the final size
            WriteInteger(output, 0x20, 5, capacity);
            _announce = null;
        }
        foreach (ref readonly var field in fields) Encode(field, output);
    }

    private void Encode(in HeaderField field, IBufferWriter<byte> output)
    {
        var (index, name) = Find(field);
        if (index != 0)
        {
            WriteInteger(output, 0x80, 7, index);
            return;
        }
        WriteInteger(output, 0x40, 6, name);
        if (name == 0) WriteString(output, field.Name);
        WriteString(output, field.Value);
        _table.Add(field);
    }

    private (int Exact, int Name) Find(in HeaderField field)
    {
        var exact = StaticTable.Find(field);
        if (exact != 0) return (exact, 0);
        var name = StaticTable.FindName(field.Name);
        for (var age = 0; age < _table.Count; age++)
        {
            var entry = _table.At(age);
            if (!string.Equals(entry.Name, field.Name, StringComparison.Ordinal)) continue;
            var index = StaticTable.Count + 1 + age;
            if (string.Equals(entry.Value, field.Value, StringComparison.Ordinal)) return (index, 0);
            if (name == 0) name = index;
        }
        return (0, name);
    }

    private static void WriteString(IBufferWriter<byte> output, string text)
    {
        var raw = ArrayPool<byte>.Shared.Rent(text.Length);
        var length = Encoding.Latin1.GetBytes(text, raw);
        var plain = raw.AsSpan(0, length);
        var coded = HuffmanCode.EncodedLength(plain);
        if (length > 0 && coded <= length)
        {
            WriteInteger(output, 0x80, 7, coded);
            HuffmanCode.Encode(plain, output.GetSpan(coded));
            output.Advance(coded);
        }
        else
        {
            WriteInteger(output, 0, 7, length);
            plain.CopyTo(output.GetSpan(Math.Max(length, 1)));
            output.Advance(length);
        }
        ArrayPool<byte>.Shared.Return(raw);
    }

    /// <summary>RFC 7541 §5.1: the value in the low <paramref name="prefixBits"/> bits of the first byte, continued in groups of seven.</summary>
    private static void WriteInteger(IBufferWriter<byte> output, byte flags, int prefixBits, int value)
    {
        var span = output.GetSpan(6);
        var limit = (1 << prefixBits) - 1;
        if (value < limit)
        {
            span[0] = (byte)(flags | value);
            output.Advance(1);
            return;
        }
        span[0] = (byte)(flags | limit);
        value -= limit;
        var written = 1;
        for (; value >= 0x80; value >>= 7) span[written++] = (byte)(value | 0x80);
        span[written++] = (byte)value;
        output.Advance(written);
    }
}
