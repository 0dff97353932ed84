using System.Buffers;
using System.Text;

namespace AmbientMesh.Hbone.Hpack;

/// <summary>Why a header block was refused.</summary>
public enum HpackVerdict
{
    Ok,
    /// <summary>Not HPACK: the connection's compression state is lost (COMPRESSION_ERROR).</summary>
    Malformed,
    /// <summary>Well-formed but over the decoded size or count limit; the table state is still right.</summary>
    TooLarge,
}

/// <summary>Decodes header blocks of one connection (RFC 7541). The decoded size and count are limited before strings are made. Not thread safe.</summary>
/// <param name="maxListBytes">Limit of the decoded list, counted as SETTINGS_MAX_HEADER_LIST_SIZE counts it (name, value, 32 each).</param>
/// <param name="maxFields">Limit of the number of fields, however small they are encoded.</param>
public sealed class HpackDecoder(int maxListBytes, int maxFields = 128)
{
    private const int TableLimitBytes = 4096;   // we never raise SETTINGS_HEADER_TABLE_SIZE
    private readonly DynamicTable _table = new(TableLimitBytes);

    /// <summary>Decodes one complete block, appending to <paramref name="fields"/>. After <see cref="HpackVerdict.TooLarge"/> the list is incomplete but
    /// the table has seen the whole block, so the connection can go on.</summary>
    public HpackVerdict Decode(ReadOnlySpan<byte> block, List<HeaderField> fields)
    {
        var budget = new Budget(maxListBytes, maxFields);
        var resizeAllowed = true;
        while (!block.IsEmpty)
        {
            var first = block[0];
            if ((first & 0xe0) == 0x20)
            {
                // §4.2: only at the beginning of a block, and never above what we announced.
                if (!resizeAllowed || !TryReadInteger(ref block, 5, out var capacity) || capacity > TableLimitBytes) return HpackVerdict.Malformed;
                _table.Resize(capacity);
                continue;
            }
            resizeAllowed = false;
            if (!TryReadField(ref block, first, ref budget, out var field)) return HpackVerdict.Malformed;
            if (budget.Take(field)) fields.Add(field);
        }
        return budget.Exceeded ? HpackVerdict.TooLarge : HpackVerdict.Ok;
    }

    private bool TryReadField(ref ReadOnlySpan<byte> block, byte first, ref Budget budget, out HeaderField field)
    {
        field = default;
        if ((first & 0x80) != 0) return TryReadInteger(ref block, 7, out var index) && TryLookUp(index, out field);
        var addToTable = (first & 0x40) != 0;
        if (!TryReadInteger(ref block, addToTable ? 6 : 4, out var nameIndex)) return false;
        string name;
        if (nameIndex == 0)
        {
            if (!TryReadString(ref block, budget.LimitBytes, out name)) return false;
        }
        else if (TryLookUp(nameIndex, out var named)) name = named.Name;
        else return false;
        if (!TryReadString(ref block, budget.LimitBytes, out var value)) return false;
        field = new HeaderField(name, value);
        if (addToTable) _table.Add(field);
        return true;
    }

    private bool TryLookUp(int index, out HeaderField field)
    {
        field = default;
        if (index == 0 || index > StaticTable.Count + _table.Count) return false;
        field = index <= StaticTable.Count ? StaticTable.At(index) : _table.At(index - StaticTable.Count - 1);
        return true;
    }

    /// <summary>Reads a string of at most the list limit; a longer one cannot be kept and ends the connection before memory is taken for it.</summary>
    private bool TryReadString(ref ReadOnlySpan<byte> block, int limitBytes, out string text)
    {
        text = "";
        if (block.IsEmpty) return false;
        var huffman = (block[0] & 0x80) != 0;
        if (!TryReadInteger(ref block, 7, out var length) || length > block.Length) return false;
        var raw = block[..length];
        block = block[length..];
        if (!huffman)
        {
            if (length > limitBytes) return false;
            text = Encoding.Latin1.GetString(raw);
            return true;
        }
        var limit = (int)Math.Min((long)length * 8 / 5, limitBytes);   // the shortest code has five bits
        var decoded = ArrayPool<byte>.Shared.Rent(Math.Max(limit, 1));
        var ok = HuffmanCode.TryDecode(raw, decoded.AsSpan(0, limit), out var written);
        if (ok) text = Encoding.Latin1.GetString(decoded, 0, written);
        ArrayPool<byte>.Shared.Return(decoded);
        return ok;
    }

    /// <summary>RFC 7541 §5.1; refuses values above 2^28 rather than overflowing.</summary>
    private static bool TryReadInteger(ref ReadOnlySpan<byte> block, int prefixBits, out int value)
    {
        value = 0;
        if (block.IsEmpty) return false;
        var limit = (1 << prefixBits) - 1;
        value = block[0] & limit;
        block = block[1..];
        if (value < limit) return true;
        for (var shift = 0; shift <= 21; shift += 7)
        {
            if (block.IsEmpty) return false;
            var next = block[0];
            block = block[1..];
            value += (next & 0x7f) << shift;
            if ((next & 0x80) == 0) return true;
        }
        return false;
    }

    private ref struct Budget(int limitBytes, int maxFields)
    {
        private long _bytes;
        private int _count;
        public readonly int LimitBytes => limitBytes;
        public bool Exceeded { get; private set; }

        public bool Take(in HeaderField field)
        {
            _bytes += field.Size;
            if (++_count > maxFields || _bytes > limitBytes) Exceeded = true;
            return !Exceeded;
        }
    }
}
