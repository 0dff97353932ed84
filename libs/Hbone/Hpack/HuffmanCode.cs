using System.Numerics;

namespace AmbientMesh.Hbone.Hpack;

/// <summary>The fixed Huffman code of HPACK (RFC 7541 Appendix B). The code is canonical, so the bit lengths alone define it.</summary>
public static class HuffmanCode
{
    private const int EndOfString = 256;

    private static ReadOnlySpan<byte> Lengths =>
    [
        13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
        6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
        13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
        15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
        20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
        22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
        26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
        20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
        30,
    ];

    /// <summary>Code of each symbol, left-aligned in 32 bits.</summary>
    private static readonly uint[] Codes = new uint[257];

    /// <summary>Symbols in the order of their codes.</summary>
    private static readonly ushort[] Symbols = new ushort[257];

    /// <summary>Per bit length: the first left-aligned code that is longer, and where its symbols begin. Only lengths that occur.</summary>
    private static readonly Band[] Bands = Build();

    private readonly record struct Band(int Length, uint First, ulong Limit, int SymbolOffset);

    /// <summary>Bytes <paramref name="text"/> takes when encoded.</summary>
    public static int EncodedLength(ReadOnlySpan<byte> text)
    {
        long bits = 0;
        foreach (var b in text) bits += Lengths[b];
        return (int)((bits + 7) / 8);
    }

    /// <summary>Encodes into <paramref name="destination"/>, which holds at least <see cref="EncodedLength"/> bytes; returns the bytes written.</summary>
    public static int Encode(ReadOnlySpan<byte> text, Span<byte> destination)
    {
        ulong pending = 0;   // left-aligned bits not yet written
        var bits = 0;
        var written = 0;
        foreach (var b in text)
        {
            pending |= (ulong)Codes[b] << 32 >> bits;
            bits += Lengths[b];
            while (bits >= 8)
            {
                destination[written++] = (byte)(pending >> 56);
                pending <<= 8;
                bits -= 8;
            }
        }
        if (bits > 0) destination[written++] = (byte)((pending >> 56) | (0xffu >> bits));   // padded with the first bits of end-of-string
        return written;
    }

    /// <summary>Decodes into <paramref name="destination"/>. False when the code is invalid, the padding is wrong, or it does not fit.</summary>
    public static bool TryDecode(ReadOnlySpan<byte> encoded, Span<byte> destination, out int written)
    {
        written = 0;
        ulong pending = 0;
        var bits = 0;
        var next = 0;
        while (true)
        {
            while (bits <= 56 && next < encoded.Length)
            {
                pending |= (ulong)encoded[next++] << (56 - bits);
                bits += 8;
            }
            if (bits == 0) return true;
            var window = (uint)(pending >> 32);
            if (!TryMatch(window, out var symbol, out var length) || length > bits) return IsPadding(window, bits);
            if (symbol == EndOfString || written == destination.Length) return false;
            destination[written++] = (byte)symbol;
            pending <<= length;
            bits -= length;
        }
    }

    /// <summary>Fewer than eight bits, all ones (RFC 7541 §5.2).</summary>
    private static bool IsPadding(uint window, int bits) => bits < 8 && BitOperations.LeadingZeroCount(~window) >= bits;

    private static bool TryMatch(uint window, out int symbol, out int length)
    {
        foreach (ref readonly var band in Bands.AsSpan())
        {
            if (window >= band.Limit) continue;
            length = band.Length;
            symbol = Symbols[band.SymbolOffset + (int)((window - band.First) >> (32 - length))];
            return true;
        }
        symbol = length = 0;
        return false;
    }

    private static Band[] Build()
    {
        var bands = new List<Band>();
        ulong code = 0;   // left-aligned in 32 bits; may reach 2^32 at the end
        var placed = 0;
        for (var length = 5; length <= 30; length++)
        {
            var first = (uint)code;
            var offset = placed;
            for (var symbol = 0; symbol <= EndOfString; symbol++)
            {
                if (Lengths[symbol] != length) continue;
                Codes[symbol] = (uint)code;
                Symbols[placed++] = (ushort)symbol;
                code += 1ul << (32 - length);
            }
            if (placed > offset) bands.Add(new Band(length, first, code, offset));
        }
        return [.. bands];
    }
}
