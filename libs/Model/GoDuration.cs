using System.Buffers;
using System.Globalization;

namespace AmbientMesh.Model;

/// <summary>Durations as Go writes them: <c>10s</c>, <c>1m30s</c>, <c>250ms</c>, <c>1.5h</c>, <c>0</c>; the form of Istio's settings.</summary>
public static class GoDuration
{
    private static readonly SearchValues<char> Number = SearchValues.Create("0123456789.");

    /// <summary>Parses a non-negative duration; false for anything else, and for what does not fit into a <see cref="TimeSpan"/>.</summary>
    public static bool TryParse(string text, out TimeSpan duration)
    {
        duration = default;
        if (text == "0") return true;
        var rest = text.AsSpan();
        if (rest.IsEmpty) return false;
        double ticks = 0;
        while (!rest.IsEmpty)
        {
            var digits = rest.IndexOfAnyExcept(Number);
            if (digits <= 0 || !double.TryParse(rest[..digits], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var amount)) return false;
            rest = rest[digits..];
            var letters = rest.IndexOfAny(Number);
            var unit = letters < 0 ? rest : rest[..letters];
            if (TicksOf(unit) is not { } factor) return false;
            ticks += amount * factor;
            rest = rest[unit.Length..];
        }
        if (ticks >= TimeSpan.MaxValue.Ticks) return false;
        duration = TimeSpan.FromTicks((long)Math.Round(ticks));
        return true;
    }

    private static double? TicksOf(ReadOnlySpan<char> unit) => unit switch
    {
        "ns" => 0.01,
        "us" or "µs" or "μs" => TimeSpan.TicksPerMicrosecond,
        "ms" => TimeSpan.TicksPerMillisecond,
        "s" => TimeSpan.TicksPerSecond,
        "m" => TimeSpan.TicksPerMinute,
        "h" => TimeSpan.TicksPerHour,
        _ => null,
    };
}
