using System.Globalization;

namespace AmbientMesh.Telemetry.Otlp;

/// <summary>Which connections' spans are recorded: one ratio for traces that begin here, and whether a told context decides for the others.</summary>
/// <param name="Ratio">0 to 1.</param>
/// <param name="FollowsParent">A received trace context's flag counts; otherwise its id is judged by the ratio.</param>
public sealed record TraceSampling(double Ratio, bool FollowsParent)
{
    /// <summary>Nothing is recorded, and told flags are kept as they are.</summary>
    public static TraceSampling Off { get; } = new(0, FollowsParent: true);

    /// <summary>By OTEL_TRACES_SAMPLER and its argument; null when they mean nothing.</summary>
    public static TraceSampling? Parse(string? sampler, string? argument)
    {
        const string ParentBased = "parentbased_";
        var name = sampler ?? "parentbased_always_on";
        var follows = name.StartsWith(ParentBased, StringComparison.Ordinal);
        switch (follows ? name[ParentBased.Length..] : name)
        {
            case "always_on": return new TraceSampling(1, follows);
            case "always_off": return new TraceSampling(0, follows);
            case "traceidratio":
                if (argument is null) return new TraceSampling(1, follows);
                return double.TryParse(argument, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var ratio) && ratio is >= 0 and <= 1 ? new TraceSampling(ratio, follows) : null;
            default: return null;
        }
    }

    /// <summary>A new trace.</summary>
    public TraceContext Begin()
    {
        var trace = TraceContext.New();
        return Ratio > 0 && IsWithin(trace.TraceId) ? trace with { IsSampled = true } : trace;
    }

    /// <summary>A trace that a peer told of.</summary>
    public TraceContext Continue(TraceContext told) => FollowsParent ? told : told with { IsSampled = IsWithin(told.TraceId) };

    // All ends judge the same trace alike: by its low 56 bits, which are random (W3C Trace Context level 2 §3.2.3.1).
    private bool IsWithin(UInt128 trace) => Ratio >= 1 || (ulong)trace % (1UL << 56) < Ratio * (1UL << 56);
}
