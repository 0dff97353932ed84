using System.Threading.Channels;

namespace AmbientMesh.ControlPlane.Collections;

/// <summary>The one writer of a graph: anyone may post, writes are applied in order, and those that wait are applied as one batch.</summary>
/// <remarks>Back-pressure: <see cref="PostAsync"/> waits while <see cref="Capacity"/> writes are queued.</remarks>
public sealed class CollectionLoop(CollectionGraph graph)
{
    /// <summary>Writes that may wait; also the most that one batch takes.</summary>
    public const int Capacity = 10_000;

    private readonly Channel<Action> _writes = Channel.CreateBounded<Action>(new BoundedChannelOptions(Capacity) { SingleReader = true });

    /// <summary>Queues <paramref name="write"/>, which runs on the loop and may write to sources and read any collection as it was before the batch.</summary>
    public ValueTask PostAsync(Action write, CancellationToken cancellationToken) => _writes.Writer.WriteAsync(write, cancellationToken);

    /// <summary>Runs <paramref name="read"/> on the loop, between batches, after everything posted before it has been applied.</summary>
    public async Task<T> ReadAsync<T>(Func<T> read, CancellationToken cancellationToken)
    {
        var result = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        await PostAsync(() => _afterBatch.Add(() => Complete(result, read)), cancellationToken);
        return await result.Task.WaitAsync(cancellationToken);
    }

    private readonly List<Action> _afterBatch = [];

    /// <summary>Applies what is posted until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        while (await _writes.Reader.WaitToReadAsync(cancellationToken))
        {
            graph.Apply(() =>
            {
                for (var taken = 0; taken < Capacity && _writes.Reader.TryRead(out var write); taken++) write();
            });
            foreach (var read in _afterBatch) read();
            _afterBatch.Clear();
        }
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
