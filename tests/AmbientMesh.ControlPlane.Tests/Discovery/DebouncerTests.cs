using AmbientMesh.ControlPlane.Discovery;

namespace AmbientMesh.ControlPlane.Tests.Discovery;

public class DebouncerTests
{
    private readonly FakeTimeProvider _clock = new();
    private readonly List<double> _fired = [];

    private Debouncer Start() => new(TimeSpan.FromMilliseconds(100), TimeSpan.FromSeconds(10), waited => _fired.Add(waited.TotalMilliseconds), _clock);

    private void Pass(int milliseconds) => _clock.Advance(TimeSpan.FromMilliseconds(milliseconds));

    [Fact]
    public void It_fires_once_after_the_quiet_time()
    {
        using var debouncer = Start();
        debouncer.Changed();
        Pass(60);
        debouncer.Changed();
        Pass(99);
        Assert.Empty(_fired);
        Pass(1);
        Assert.Equal([160], _fired);
        Pass(60_000);
        Assert.Single(_fired);
    }

    [Fact]
    public void A_stream_of_changes_is_pushed_at_the_latest_after_the_maximum()
    {
        using var debouncer = Start();
        for (var elapsed = 0; elapsed < 25_000; elapsed += 50)
        {
            debouncer.Changed();
            Pass(50);
        }
        Assert.Equal([10_000, 10_000], _fired);
    }

    [Fact]
    public void Each_run_of_changes_is_counted_anew()
    {
        using var debouncer = Start();
        debouncer.Changed();
        Pass(100);
        Pass(5_000);
        debouncer.Changed();
        Pass(100);
        Assert.Equal([100, 100], _fired);
    }
}
