using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Collections;

/// <summary>Carries what an informer sees into a source collection, in order, through the graph's one writer.</summary>
public static class InformerFeed
{
    /// <summary>Runs until the informer's stream ends or <paramref name="cancellationToken"/> is cancelled.</summary>
    /// <param name="informer">Where changes come from.</param>
    /// <param name="source">Where they go.</param>
    /// <param name="loop">The writer of the source's graph.</param>
    /// <param name="onChange">Told of each change (its kind), e.g. to count it.</param>
    /// <param name="onSynced">Called on the loop, after the batch, once everything of the informer's first list has been applied.</param>
    /// <param name="merge">What to hold of an object, given what is held (or null) and what came; the latter when null.</param>
    public static async Task RunAsync<T>(
        Informer<T> informer, SourceCollection<ObjectKey, T> source, CollectionLoop loop, Action<ChangeKind> onChange, Action onSynced, CancellationToken cancellationToken, Func<T?, T, T>? merge = null)
        where T : class
    {
        await foreach (var change in informer.Subscribe().ReadAllAsync(cancellationToken))
        {
            if (change.Kind == ChangeKind.Synced)
            {
                loop.PostRead(onSynced);
                continue;
            }
            onChange(change.Kind);
            loop.Post(() =>
            {
                if (change.After is { } now) source.Set(change.Key, merge is null ? now : merge(source.Find(change.Key), now));
                else source.Remove(change.Key);
            });
        }
    }
}
