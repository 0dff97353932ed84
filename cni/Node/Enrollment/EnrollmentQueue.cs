using System.Threading.Channels;
using AmbientMesh.Kubernetes;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Cni.Node.Enrollment;

/// <summary>Pods waiting to be looked at: each once, each by one worker at a time, failures again after 5 ms doubling up to 5 s. Thread-safe.</summary>
/// <param name="reconcile">Looks at one pod; false asks for another try.</param>
internal sealed class EnrollmentQueue(Func<ObjectKey, CancellationToken, Task<bool>> reconcile, TimeProvider clock, ILogger log)
{
    private static readonly TimeSpan s_first = TimeSpan.FromMilliseconds(5), s_longest = TimeSpan.FromSeconds(5);

    private readonly Channel<ObjectKey> _ready = Channel.CreateUnbounded<ObjectKey>();
    private readonly Lock _gate = new();
    private readonly HashSet<ObjectKey> _waiting = [];
    private readonly HashSet<ObjectKey> _running = [];
    private readonly Dictionary<ObjectKey, int> _failures = [];

    /// <summary>Asks for a look at the pod; one that waits already is looked at once, one being looked at is looked at again.</summary>
    public void Enqueue(ObjectKey key)
    {
        lock (_gate)
        {
            if (!_waiting.Add(key) || _running.Contains(key)) return;
        }
        _ready.Writer.TryWrite(key);
    }

    /// <summary>Asks for a look at the pod after <paramref name="wait"/>.</summary>
    public void EnqueueAfter(ObjectKey key, TimeSpan wait, CancellationToken cancellationToken) => _ = EnqueueAfterAsync(key, wait, cancellationToken);

    /// <summary>Works until cancelled, on <paramref name="workers"/> pods at a time.</summary>
    public Task RunAsync(int workers, CancellationToken cancellationToken) =>
        Task.WhenAll(Enumerable.Range(0, workers).Select(_ => WorkAsync(cancellationToken)));

    private async Task WorkAsync(CancellationToken cancellationToken)
    {
        try
        {
            await foreach (var key in _ready.Reader.ReadAllAsync(cancellationToken))
            {
                lock (_gate)
                {
                    _waiting.Remove(key);
                    _running.Add(key);
                }
                var done = await TryAsync(key, cancellationToken);
                Finish(key, done, cancellationToken);
            }
        }
        catch (OperationCanceledException)
        {
            // The agent ends.
        }
    }

    // A fault in one pod's handling must not end the worker.
    private async Task<bool> TryAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        try
        {
            return await reconcile(key, cancellationToken);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            log.LogError(e, "{Pod} could not be looked at", key);
            return false;
        }
    }

    private void Finish(ObjectKey key, bool done, CancellationToken cancellationToken)
    {
        bool again;
        var wait = TimeSpan.Zero;
        lock (_gate)
        {
            _running.Remove(key);
            again = _waiting.Contains(key);
            if (done) _failures.Remove(key);
            else
            {
                var failures = _failures[key] = _failures.GetValueOrDefault(key) + 1;
                wait = TimeSpan.FromTicks(Math.Min(s_longest.Ticks, s_first.Ticks << Math.Min(failures - 1, 20)));
            }
        }
        if (again) _ready.Writer.TryWrite(key);
        else if (!done) _ = EnqueueAfterAsync(key, wait, cancellationToken);
    }

    private async Task EnqueueAfterAsync(ObjectKey key, TimeSpan wait, CancellationToken cancellationToken)
    {
        await Task.Delay(wait, clock, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (!cancellationToken.IsCancellationRequested) Enqueue(key);
    }
}
