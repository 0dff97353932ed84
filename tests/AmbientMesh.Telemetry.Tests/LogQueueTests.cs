using System.Text;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Telemetry.Tests;

/// <summary>A log that cannot be written, or that nobody reads, holds nothing up and comes back by itself.</summary>
public sealed class LogQueueTests
{
    /// <summary>A stream whose disk is full, or whose reader stands still, until told otherwise.</summary>
    private sealed class TroubledStream : MemoryStream
    {
        private readonly TaskCompletionSource _released = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly Lock _gate = new();

        public bool IsFull { get; set; }
        public bool IsStuck { get; init; }

        public void Release() => _released.TrySetResult();

        public string Text
        {
            get { lock (_gate) return Encoding.UTF8.GetString(ToArray()); }
        }

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (IsStuck) await _released.Task;
            if (IsFull) throw new IOException("No space left on device");
            lock (_gate) Write(buffer.Span);
        }
    }

    private static MeshLoggerProvider Provider(Stream output, TimeProvider clock) => new(output, LogLayout.Plain, LogFilter.Parse("info"), clock);

    [Fact]
    public async Task A_full_disk_loses_lines_counts_them_and_is_written_again_when_there_is_room()
    {
        var clock = new FakeTimeProvider();
        var output = new TroubledStream { IsFull = true };
        var registry = new MetricRegistry();
        await using var provider = Provider(output, clock);
        provider.Register(registry);
        var log = provider.CreateLogger("ztunnel::app");
        log.LogInformation("lost");
        await clock.TimersArmedAsync(1, Patience.Token);   // it failed and waits
        Assert.Equal(1, provider.DroppedLines);
        output.IsFull = false;
        log.LogInformation("kept");
        clock.Advance(TimeSpan.FromSeconds(1));
        await provider.DisposeAsync();
        Assert.DoesNotContain("\tlost", output.Text);
        Assert.Contains("\twarn\tlog\t1 log lines were lost", output.Text);
        Assert.Contains("ambientmesh_log_lines_dropped_total 1\n", MetricExposition.Write(registry));
    }

    [Fact]
    public async Task A_reader_that_stands_still_makes_nobody_wait_and_does_not_keep_the_process()
    {
        var output = new TroubledStream { IsStuck = true };
        var clock = new FakeTimeProvider();
        var provider = Provider(output, clock);
        var log = provider.CreateLogger("ztunnel::access");
        for (var i = 0; i < 30_000; i++) log.LogInformation("{Number}", i);
        Assert.InRange(provider.DroppedLines, 20_000, 30_000);   // the queue is bounded
        var ending = provider.DisposeAsync().AsTask();
        await clock.TimersArmedAsync(1, Patience.Token);
        clock.Advance(TimeSpan.FromSeconds(2) - TimeSpan.FromMilliseconds(1));
        Assert.False(ending.IsCompleted);
        clock.Advance(TimeSpan.FromMilliseconds(1));
        await Patience.Within(ending);
        output.Release();
    }

    [Fact, Scenario("T-39")]
    public async Task What_a_peer_sends_stays_within_its_field_and_its_length()
    {
        var output = new MemoryStream();
        await using (var provider = Provider(output, new FakeTimeProvider()))
            provider.CreateLogger("access").Write(LogLevel.Warning, "refused", new("authority", "x\"\r\n2026-01-01T00:00:00Z\tinfo\tforged\u2028\u001b[31m" + new string('a', 100_000)), new("n", 1));
        var text = Encoding.UTF8.GetString(output.ToArray());
        Assert.Equal(1, text.Count(c => c is '\n' or '\u2028' or '\u001b'));
        Assert.InRange(text.Length, 1000, 3000);
        Assert.EndsWith("…\" n=1\n", text);
        Assert.Contains("authority=\"x\\\"\\r\\n2026-01-01T00:00:00Z\\tinfo\\tforged", text);
    }
}
