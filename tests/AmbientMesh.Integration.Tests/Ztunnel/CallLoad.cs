namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>Callers that make one new connection after another and count.</summary>
public sealed class CallLoad : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _callers;
    private int _made, _failed;
    private string _firstFailure = "";

    /// <param name="call">One new connection; its answer must be "ping".</param>
    public CallLoad(Func<Task<string>> call, int callers) => _callers = Task.WhenAll(Enumerable.Range(0, callers).Select(_ => Task.Run(() => CallAsync(call), CancellationToken.None)));

    public int Made => Volatile.Read(ref _made);
    public int Failed => Volatile.Read(ref _failed);

    /// <summary>Empty when none failed.</summary>
    public string FirstFailure => Volatile.Read(ref _firstFailure);

    /// <summary>Completes when so many more have succeeded.</summary>
    public Task MadeAsync(int more)
    {
        var goal = Made + more;
        return Eventually.IsTrueAsync(() => Made >= goal, $"{more} more connections succeed");
    }

    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        await Patience.Within(_callers);
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _stop.Dispose();
    }

    private async Task CallAsync(Func<Task<string>> call)
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                var answer = await call();
                if (answer != "ping") throw new IOException($"the answer is \"{answer}\"");
                Interlocked.Increment(ref _made);
            }
            catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException)
            {
                Interlocked.Increment(ref _failed);
                Interlocked.CompareExchange(ref _firstFailure, e.Message, "");
            }
        }
    }
}
