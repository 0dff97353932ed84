namespace AmbientMesh.Samples.Load;

/// <summary>Holds long-lived connections and makes new ones at a steady rate, whatever becomes of the earlier ones, and counts.</summary>
internal sealed class LoadRun(LoadOptions options, TimeProvider clock) : IDisposable
{
    private static readonly TimeSpan RestAfterBreak = TimeSpan.FromMilliseconds(100);

    private readonly long _start = clock.GetTimestamp();
    private readonly CancellationTokenSource _over = new();
    private readonly TaskCompletionSource<string> _result = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private LoadCounts Counts { get; } = new();

    /// <summary>The counts of this moment, as JSON.</summary>
    public string Report => Counts.ToJson(clock.GetElapsedTime(_start), isOver: false);

    /// <summary>Runs a load to its end and prints the counts; 0 when nothing was lost.</summary>
    public static async Task<int> RunAsync(LoadOptions options, CancellationToken stop)
    {
        using var run = new LoadRun(options, TimeProvider.System);
        await using var report = options.ReportPort > 0 ? await LoadReport.StartAsync(run, options.ReportPort) : null;
        Console.WriteLine($"load on {options.Target.Host}:{options.Target.Port}: {options.PerSecond} new connections/s, {options.LongLived} long-lived, at most {options.Duration.TotalSeconds} s");
        await using var asked = stop.Register(() => _ = run.EndAsync());
        Console.WriteLine(await run.RunAsync());
        return run.Counts.IsWithoutLoss ? 0 : 1;
    }

    /// <summary>Makes no further connection, lets those under way finish and gives the final counts.</summary>
    public async Task<string> EndAsync()
    {
        await _over.CancelAsync();
        return await _result.Task;
    }

    public void Dispose() => _over.Dispose();

    private async Task<string> RunAsync()
    {
        using var limit = new CancellationTokenSource(options.Duration, clock);
        await using var atLimit = limit.Token.Register(() => _over.Cancel());
        List<Task> holding = [.. Enumerable.Range(0, options.LongLived).Select(_ => Task.Run(HoldAsync, CancellationToken.None))];
        await MakeAsync();
        await Task.WhenAll(holding);
        var final = Counts.ToJson(clock.GetElapsedTime(_start), isOver: true);
        _result.TrySetResult(final);
        return final;
    }

    /// <summary>Starts connections on time, without waiting for earlier ones; returns when the last has ended.</summary>
    private async Task MakeAsync()
    {
        HashSet<Task> underway = [];
        try
        {
            if (options.PerSecond == 0) await Task.Delay(Timeout.InfiniteTimeSpan, clock, _over.Token);
            using var timer = new PeriodicTimer(TimeSpan.FromSeconds(1.0 / options.PerSecond), clock);
            for (var number = 0L; ; number++)
            {
                underway.RemoveWhere(task => task.IsCompleted);
                underway.Add(ConnectOnceAsync(number));
                await timer.WaitForNextTickAsync(_over.Token);
            }
        }
        catch (OperationCanceledException)
        {
            await Task.WhenAll(underway);
        }
    }

    private async Task ConnectOnceAsync(long number)
    {
        await Task.Yield();
        var start = clock.GetTimestamp();
        using var limit = new CancellationTokenSource(options.AnswerLimit, clock);
        var established = false;
        try
        {
            using var echo = new NumberedEcho(await options.Target.ConnectAsync(limit.Token));
            established = true;
            await echo.ExchangeAsync(number, limit.Token);
            await echo.FinishAsync(limit.Token);
            Counts.Made(clock.GetElapsedTime(start));
        }
        catch (Exception lost) when (IsLoss(lost))
        {
            Tell("new connection", Counts.Lost, LoadFailure.Of(lost, established));
        }
    }

    /// <summary>Keeps one long-lived connection, opening another when it breaks, until the load is over.</summary>
    private async Task HoldAsync()
    {
        while (!_over.IsCancellationRequested)
        {
            var established = false;
            try
            {
                using var limit = new CancellationTokenSource(options.AnswerLimit, clock);
                using var echo = new NumberedEcho(await options.Target.ConnectAsync(limit.Token));
                established = true;
                Counts.LongLivedOpened();
                await TalkAsync(echo);
                if (_over.IsCancellationRequested) return;
                Counts.LongLivedFinished();
                continue;
            }
            catch (Exception lost) when (IsLoss(lost))
            {
                Tell("long-lived connection", Counts.LongLivedBroken, LoadFailure.Of(lost, established));
            }
            await RestAsync(RestAfterBreak);
        }
    }

    private async Task TalkAsync(NumberedEcho echo)
    {
        var born = clock.GetTimestamp();
        for (var number = 0L; ; number++)
        {
            using var limit = new CancellationTokenSource(options.AnswerLimit, clock);
            var asked = clock.GetTimestamp();
            await echo.ExchangeAsync(number, limit.Token);
            Counts.Message(clock.GetElapsedTime(asked));
            // The last word is an orderly end: a connection that cannot end in order was broken.
            if (!await RestAsync(options.MessageInterval) || (options.Life > TimeSpan.Zero && clock.GetElapsedTime(born) > options.Life))
            {
                await echo.FinishAsync(limit.Token);
                return;
            }
        }
    }

    /// <summary>False when the load is over.</summary>
    private async Task<bool> RestAsync(TimeSpan time)
    {
        try
        {
            await Task.Delay(time, clock, _over.Token);
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    private void Tell(string what, Action<LoadFailure> count, LoadFailure failure)
    {
        count(failure);
        Console.WriteLine($"{clock.GetUtcNow():HH:mm:ss.fff} lost a {what}: {failure.Reason}{(failure.WasEstablished ? "" : " before it was established")}");
    }

    private static bool IsLoss(Exception failure) => failure is IOException or System.Net.Sockets.SocketException or OperationCanceledException or InvalidDataException;
}
