namespace AmbientMesh.Lab.Nodes;

internal static class Cancellation
{
    /// <summary>Completes when the token fires.</summary>
    public static Task WhenCancelledAsync(this CancellationToken token)
    {
        var fired = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        token.Register(() => fired.TrySetResult());
        return fired.Task;
    }
}
