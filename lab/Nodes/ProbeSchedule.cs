using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Nodes;

/// <summary>How often a probe runs and what its results mean. Defaults: 1 s timeout, 10 s period, 1 success, 3 failures.</summary>
internal sealed class ProbeSchedule(JsonObject probe)
{
    private int _successes;
    private int _failures;

    public TimeSpan InitialDelay { get; } = TimeSpan.FromSeconds(probe.Number("initialDelaySeconds") ?? 0);
    public TimeSpan Period { get; } = TimeSpan.FromSeconds(probe.Number("periodSeconds") is { } p and > 0 ? p : 10);
    public TimeSpan Timeout { get; } = TimeSpan.FromSeconds(probe.Number("timeoutSeconds") is { } t and > 0 ? t : 1);

    /// <summary>The verdict after one more result: true or false once a threshold is reached, null before.</summary>
    public bool? Count(bool succeeded)
    {
        if (succeeded)
        {
            (_successes, _failures) = (_successes + 1, 0);
            return _successes >= (probe.Number("successThreshold") ?? 1) ? true : null;
        }
        (_successes, _failures) = (0, _failures + 1);
        return _failures >= (probe.Number("failureThreshold") ?? 3) ? false : null;
    }
}
