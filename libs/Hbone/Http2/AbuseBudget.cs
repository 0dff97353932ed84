namespace AmbientMesh.Hbone.Http2;

/// <summary>How much unproductive work a peer may cause: a burst, refilled steadily. Emptying it ends the connection with ENHANCE_YOUR_CALM.</summary>
/// <remarks>CVE-2023-44487 (rapid reset), CVE-2025-8671 (made-you-reset), CVE-2019-9511…9518 (floods). Called by the reader thread alone.</remarks>
internal sealed class AbuseBudget(string what, int burst, int perSecond, TimeProvider clock)
{
    private double _tokens = burst;
    private long _last = clock.GetTimestamp();

    /// <summary>Takes one unit.</summary>
    /// <exception cref="ConnectionErrorException">The budget is used up.</exception>
    public void Spend()
    {
        if (_tokens < 1) Refill();
        if (_tokens < 1) throw new ConnectionErrorException(ErrorCode.EnhanceYourCalm, $"too many {what}");
        _tokens--;
    }

    private void Refill()
    {
        var now = clock.GetTimestamp();
        _tokens = Math.Min(burst, _tokens + (clock.GetElapsedTime(_last, now).TotalSeconds * perSecond));
        _last = now;
    }
}
