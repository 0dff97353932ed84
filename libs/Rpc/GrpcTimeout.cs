using System.Globalization;

namespace AmbientMesh.Rpc;

/// <summary>The <c>grpc-timeout</c> header: up to 8 digits and a unit, <c>H M S m u n</c>. Source: gRPC over HTTP/2, "Requests".</summary>
internal static class GrpcTimeout
{
    public const string Header = "grpc-timeout";
    private const long MaxValue = 99_999_999;

    /// <summary>The finest unit that fits 8 digits, rounded up so that the server never gives up before the client.</summary>
    public static string Format(TimeSpan timeout)
    {
        if (timeout <= TimeSpan.Zero) return "1n";
        (char Unit, long Ticks)[] units = [('u', TimeSpan.TicksPerMicrosecond), ('m', TimeSpan.TicksPerMillisecond), ('S', TimeSpan.TicksPerSecond), ('M', TimeSpan.TicksPerMinute), ('H', TimeSpan.TicksPerHour)];
        foreach (var (unit, ticks) in units)
        {
            var value = (timeout.Ticks - 1) / ticks + 1;
            if (value <= MaxValue) return string.Create(CultureInfo.InvariantCulture, $"{value}{unit}");
        }
        return "99999999H";
    }

    /// <summary>Null when <paramref name="text"/> is not of that form. Anything longer than a timer can hold counts as its maximum.</summary>
    public static TimeSpan? Parse(string text)
    {
        if (text.Length is < 2 or > 9 || !long.TryParse(text.AsSpan(0, text.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out var value)) return null;
        return text[^1] switch
        {
            'H' => Capped(value * TimeSpan.TicksPerHour),
            'M' => Capped(value * TimeSpan.TicksPerMinute),
            'S' => Capped(value * TimeSpan.TicksPerSecond),
            'm' => Capped(value * TimeSpan.TicksPerMillisecond),
            'u' => Capped(value * TimeSpan.TicksPerMicrosecond),
            'n' => Capped(value / TimeSpan.NanosecondsPerTick),
            _ => null,
        };
    }

    private static TimeSpan Capped(long ticks) => TimeSpan.FromTicks(Math.Min(ticks, TimeSpan.FromDays(40).Ticks));
}
