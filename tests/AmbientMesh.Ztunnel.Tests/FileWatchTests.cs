using AmbientMesh.Ztunnel.Certificates;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Tests;

/// <summary>A followed file, with and without the kernel's help.</summary>
public sealed class FileWatchTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("amz-watch-").FullName;
    private readonly FakeTimeProvider _clock = new();
    private readonly KeptLog _log = new();
    private readonly SemaphoreSlim _changes = new(0);
    private readonly CancellationTokenSource _stop = new();

    private string File => Path.Combine(_folder, "list.pem");

    private Task Changed()
    {
        _changes.Release();
        return Task.CompletedTask;
    }

    private Task ChangedAsync() => _changes.WaitAsync(Patience.Token);

    /// <summary>Returns once the watch waits for no longer than this.</summary>
    private Task WaitingAsync(TimeSpan time) => _clock.TimersAsync(due => due is [var only] && only == time, Patience.Token);

    private async Task EndAsync(Task watching)
    {
        await _stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Patience.Within(watching));
    }

    [Fact, Scenario("T-21")]
    public async Task Without_a_watch_to_be_had_the_file_is_read_every_ten_seconds()
    {
        await System.IO.File.WriteAllTextAsync(File, "one", Patience.Token);
        var tries = 0;
        var watch = new FileWatch(File, _clock, _log, _ =>
        {
            tries++;
            throw new IOException("The configured user limit (128) on the number of inotify instances has been reached.");
        });
        var watching = watch.RunAsync(Changed, _stop.Token);
        await WaitingAsync(FileWatch.LookUnwatched);
        await System.IO.File.WriteAllTextAsync(File, "two", Patience.Token);
        _clock.Advance(FileWatch.LookUnwatched);
        await ChangedAsync();
        await WaitingAsync(FileWatch.LookUnwatched);
        _clock.Advance(FileWatch.LookUnwatched);
        await WaitingAsync(FileWatch.LookUnwatched);
        Assert.Equal(0, _changes.CurrentCount);   // the same content is no change
        Assert.Equal(3, tries);                    // it may be had later
        Assert.Single(_log.At(LogLevel.Warning));
        await EndAsync(watching);
    }

    [Fact, Scenario("T-21")]
    public async Task After_a_watch_has_failed_the_file_is_read_and_watched_again()
    {
        await System.IO.File.WriteAllTextAsync(File, "one", Patience.Token);
        var watchers = new List<FailingWatcher>();
        var watch = new FileWatch(File, _clock, _log, _ =>
        {
            watchers.Add(new FailingWatcher(Directory.CreateDirectory(Path.Combine(_folder, "elsewhere")).FullName));   // sees nothing of the file
            return watchers[^1];
        });
        var watching = watch.RunAsync(Changed, _stop.Token);
        await WaitingAsync(FileWatch.LookAgain);
        await System.IO.File.WriteAllTextAsync(File, "two", Patience.Token);
        watchers[0].Fail();
        await WaitingAsync(TimeSpan.FromSeconds(2));
        _clock.Advance(TimeSpan.FromSeconds(2));
        await ChangedAsync();
        await WaitingAsync(FileWatch.LookAgain);
        Assert.Equal(2, watchers.Count);
        await EndAsync(watching);
    }

    [Fact]
    public async Task What_a_watch_has_missed_is_seen_a_minute_later_and_a_failure_to_follow_it_ends_nothing()
    {
        var watch = new FileWatch(File, _clock, _log, _ => new FailingWatcher(Directory.CreateDirectory(Path.Combine(_folder, "elsewhere")).FullName));
        var fails = true;
        var watching = watch.RunAsync(() =>
        {
            _changes.Release();
            return fails ? throw new InvalidOperationException("a fault") : Task.CompletedTask;
        }, _stop.Token);
        foreach (var content in (string[])["one", "two"])
        {
            await WaitingAsync(FileWatch.LookAgain);
            await System.IO.File.WriteAllTextAsync(File, content, Patience.Token);
            _clock.Advance(FileWatch.LookAgain);
            await ChangedAsync();
            fails = false;
        }
        Assert.Single(_log.At(LogLevel.Error));
        await EndAsync(watching);
    }

    [Fact]
    public async Task What_changed_before_the_watch_began_is_told()
    {
        var watch = new FileWatch(File, _clock, _log);
        await System.IO.File.WriteAllTextAsync(File, "one", Patience.Token);
        var watching = watch.RunAsync(Changed, _stop.Token);
        await ChangedAsync();
        await EndAsync(watching);
    }

    [Fact, Scenario("T-26")]
    public void A_revocation_list_beyond_all_measure_is_refused_unread()
    {
        using (var huge = System.IO.File.Create(File)) huge.SetLength(RevocationWatch.MaxBytes + 1);
        var before = GC.GetAllocatedBytesForCurrentThread();
        var refusal = Assert.Throws<IOException>(() => new RevocationWatch(File, _clock, _log).Read());
        Assert.Contains($"no more than {RevocationWatch.MaxBytes} are read", refusal.Message, StringComparison.Ordinal);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1024 * 1024);
    }

    [Fact]
    public async Task A_folder_that_is_not_there_yet_is_followed_when_it_comes()
    {
        var late = Path.Combine(_folder, "mounted", "root.pem");
        var watching = new FileWatch(late, _clock, _log).RunAsync(Changed, _stop.Token);
        await WaitingAsync(FileWatch.LookUnwatched);
        Directory.CreateDirectory(Path.GetDirectoryName(late)!);
        await System.IO.File.WriteAllTextAsync(late, "one", Patience.Token);
        _clock.Advance(FileWatch.LookUnwatched);
        await ChangedAsync();
        await EndAsync(watching);
    }

    public void Dispose()
    {
        _stop.Dispose();
        _changes.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private sealed class FailingWatcher(string folder) : FileSystemWatcher(folder)
    {
        public void Fail() => OnError(new ErrorEventArgs(new InternalBufferOverflowException()));
    }
}
