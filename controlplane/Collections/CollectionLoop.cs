using System.Threading.Channels;

namespace AmbientMesh.ControlPlane.Collections;

/// <summary>The one writer of a graph: anyone may post, writes are applied in order, and those that wait are applied as one batch.</summary>
/// <remarks>What is posted waits without limit, as it does in the informers before: an object's state must not be lost.</remarks>
public sealed class CollectionLoop(CollectionGraph graph)
{
    /// <summary>The most writes that one batch takes, so that readers and publishing get their turn while a large list comes in.</summary>
    public const int BatchSize = 10_000;

    private readonly Channel<Work> _posted = Channel.CreateUnbounded<Work>(new UnboundedChannelOptions { SingleReader = true });

    private readonly record struct Work(Action Run, bool IsAfterBatch);

    /// <summary>Queues <paramref name="write"/>, which runs on the loop and may write to sources.</summary>
    public void Post(Action write) => _posted.Writer.TryWrite(new Work(write, IsAfterBatch: false));

    /// <summary>Queues <paramref name="read"/>, which runs on the loop when everything posted before it has been applied; it may read every collection and must not throw.</summary>
    public void PostRead(Action read) => _posted.Writer.TryWrite(new Work(read, IsAfterBatch: true));

    /// <summary>The result of <paramref name="read"/>, run as <see cref="PostRead"/> does; its exception is the task's.</summary>
    public Task<T> ReadAsync<T>(Func<T> read, CancellationToken cancellationToken)
    {
        var result = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        PostRead(() => Complete(result, read));
        return result.Task.WaitAsync(cancellationToken);
    }

    /// <summary>Applies what is posted until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        while (await _posted.Reader.WaitToReadAsync(cancellationToken))
        {
            graph.Apply(WriteBatch);
            while (_posted.Reader.TryPeek(out var next) && next.IsAfterBatch && _posted.Reader.TryRead(out next)) next.Run();
        }
    }

    /// <summary>Runs waiting writes up to the first read among them.</summary>
    private void WriteBatch()
    {
        for (var taken = 0; taken < BatchSize && _posted.Reader.TryPeek(out var next) && !next.IsAfterBatch; taken++)
            if (_posted.Reader.TryRead(out next)) next.Run();
    }

    private static void Complete<T>(TaskCompletionSource<T> result, Func<T> read)
    {
        try
        {
            result.TrySetResult(read());
        }
        catch (Exception problem)
        {
            result.TrySetException(problem);
        }
    }
}
