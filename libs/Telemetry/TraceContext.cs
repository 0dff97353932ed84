using System.Buffers.Binary;
using System.Globalization;

namespace AmbientMesh.Telemetry;

/// <summary>Where one connection stands in a trace: the trace, its own span, and the span that caused it. Source: W3C Trace Context §3.2.</summary>
/// <remarks>The trace id is the connection's id in logs and pages: both ends of a tunnel show the same one.</remarks>
/// <param name="TraceId">Never 0.</param>
/// <param name="SpanId">This end's own span; never 0.</param>
/// <param name="ParentSpanId">0 when it begins here.</param>
/// <param name="IsSampled">Whether spans of the trace are recorded.</param>
public readonly record struct TraceContext(UInt128 TraceId, ulong SpanId, ulong ParentSpanId = 0, bool IsSampled = false)
{
    private const int HeaderLength = 55;

    /// <summary>The trace id as 32 lower-case hex digits.</summary>
    public string Id => Hex(TraceId);

    /// <summary>The header that tells the next hop: <c>00-trace-span-flags</c>.</summary>
    public string Header => string.Create(HeaderLength, this, static (text, context) =>
    {
        "00-".CopyTo(text);
        context.TraceId.TryFormat(text[3..], out _, "x32", CultureInfo.InvariantCulture);
        text[35] = '-';
        context.SpanId.TryFormat(text[36..], out _, "x16", CultureInfo.InvariantCulture);
        (context.IsSampled ? "-01" : "-00").CopyTo(text[52..]);
    });

    /// <summary>A new trace. The ids are random, not secret.</summary>
    public static TraceContext New(bool isSampled = false)
    {
        Span<byte> random = stackalloc byte[24];
        Random.Shared.NextBytes(random);
        var trace = BinaryPrimitives.ReadUInt128BigEndian(random);
        return new TraceContext(trace == 0 ? 1 : trace, NonZero(BinaryPrimitives.ReadUInt64BigEndian(random[16..])), 0, isSampled);
    }

    /// <summary>This end's place below what the header says; null when the header is not exactly 55 well-formed characters, or names no trace.</summary>
    public static TraceContext? Below(string? header)
    {
        if (header is not { Length: HeaderLength } || header[2] != '-' || header[35] != '-' || header[52] != '-' || header.StartsWith("ff", StringComparison.Ordinal)) return null;
        foreach (var c in header)
            if (c != '-' && !char.IsAsciiHexDigitLower(c)) return null;
        if (!UInt128.TryParse(header.AsSpan(3, 32), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var trace) || trace == 0) return null;
        if (!ulong.TryParse(header.AsSpan(36, 16), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var parent) || parent == 0) return null;
        if (!byte.TryParse(header.AsSpan(0, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out _)) return null;
        if (!byte.TryParse(header.AsSpan(53, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var flags)) return null;
        return new TraceContext(trace, NonZero((ulong)Random.Shared.NextInt64()), parent, (flags & 1) != 0);
    }

    /// <summary>Reads a connection's id; false when it is not 32 hex digits.</summary>
    public static bool TryParseId(string? text, out UInt128 id)
    {
        id = 0;
        return text is { Length: 32 } && UInt128.TryParse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out id);
    }

    public static string Hex(UInt128 id) => id.ToString("x32", CultureInfo.InvariantCulture);

    private static ulong NonZero(ulong id) => id == 0 ? 1 : id;
}
