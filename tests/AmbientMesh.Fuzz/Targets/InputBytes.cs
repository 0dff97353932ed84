using System.Text;

namespace AmbientMesh.Fuzz.Targets;

/// <summary>Takes structure from an input; at its end everything is zero or empty.</summary>
internal ref struct InputBytes(ReadOnlySpan<byte> input)
{
    private ReadOnlySpan<byte> _rest = input;

    public readonly bool IsEmpty => _rest.IsEmpty;
    public readonly ReadOnlySpan<byte> Rest => _rest;

    public byte Byte()
    {
        if (_rest.IsEmpty) return 0;
        var value = _rest[0];
        _rest = _rest[1..];
        return value;
    }

    public ushort Short() => (ushort)((Byte() << 8) | Byte());

    public ReadOnlySpan<byte> Take(int count)
    {
        count = Math.Min(count, _rest.Length);
        var taken = _rest[..count];
        _rest = _rest[count..];
        return taken;
    }

    /// <summary>A text of up to 255 bytes behind its length.</summary>
    public string Text() => Encoding.Latin1.GetString(Take(Byte()));

    /// <summary>The rest as UTF-8; what is none becomes the replacement character.</summary>
    public readonly string RestAsText() => Encoding.UTF8.GetString(_rest);
}

internal static class SeedBytes
{
    public static byte[] Of(byte first, string text) => [first, .. Encoding.UTF8.GetBytes(text)];
    public static byte[] Of(byte first, byte[] rest) => [first, .. rest];
    public static byte[] Text(string text) => Encoding.UTF8.GetBytes(text);
    public static IEnumerable<byte[]> Words(params string[] words) => words.Select(Text);
}
