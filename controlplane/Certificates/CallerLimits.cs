namespace AmbientMesh.ControlPlane.Certificates;

/// <summary>How many certificates one caller may ask for: a burst, refilled steadily. A node that asks for more is broken or stolen (T-22).</summary>
/// <remarks>Thread-safe.</remarks>
/// <param name="burst">Requests at once; a node's pods all start together after a reboot.</param>
/// <param name="perSecond">Requests regained each second.</param>
internal sealed class CallerLimits(TimeProvider clock, int burst = 500, double perSecond = 20)
{
    private const int MaxCallers = 20_000;

    private readonly Lock _gate = new();
    private readonly Dictionary<string, (double Left, DateTimeOffset At)> _buckets = [];

    /// <summary>Takes one request from the caller's share; false when it is used up.</summary>
    public bool TryTake(string caller)
    {
        var now = clock.GetUtcNow();
        lock (_gate)
        {
            if (!_buckets.TryGetValue(caller, out var bucket))
            {
                if (_buckets.Count >= MaxCallers) DropFull(now);
                bucket = (burst, now);
            }
            var left = Refilled(bucket, now);
            var may = left >= 1;
            _buckets[caller] = (may ? left - 1 : left, now);
            return may;
        }
    }

    private double Refilled((double Left, DateTimeOffset At) bucket, DateTimeOffset now) => Math.Min(burst, bucket.Left + (now - bucket.At).TotalSeconds * perSecond);

    private void DropFull(DateTimeOffset now)
    {
        foreach (var idle in _buckets.Where(b => Refilled(b.Value, now) >= burst).Select(b => b.Key).ToList()) _buckets.Remove(idle);
    }
}
