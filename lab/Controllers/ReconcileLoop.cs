using System.Text.Json.Nodes;
using System.Threading.Channels;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Controllers;

/// <summary>Which objects (as <c>namespace/name</c>) a change of some resource asks to look at again.</summary>
internal sealed record ReconcileSource(GroupResource Resource, Func<JsonObject, IEnumerable<string>> Keys)
{
    /// <summary>The object itself.</summary>
    public static ReconcileSource Own(GroupResource resource) => new(resource, o => [ReconcileLoop.Key(o)]);

    /// <summary>The object's controller, when that is of the kind.</summary>
    public static ReconcileSource OwnerOf(GroupResource resource, string kind) => new(resource, o =>
        o.OwnerReferences().Where(r => r.Flag("controller") == true && r.Text("kind") == kind).Select(r => $"{o.Namespace()}/{r.Text("name")}"));
}

/// <summary>Watches, remembers which objects to look at, and has them looked at one after the other; failures are tried again.</summary>
/// <param name="reconcile">Gets namespace and name; returns when to look again although nothing changed, or null.</param>
internal sealed class ReconcileLoop(ClusterStore store, string name, IReadOnlyList<ReconcileSource> sources, Func<string, string, TimeSpan?> reconcile, Action<string> report)
{
    private static readonly TimeSpan s_retry = TimeSpan.FromMilliseconds(500);
    private readonly Channel<string> _queue = Channel.CreateUnbounded<string>();
    private readonly HashSet<string> _queued = [];
    private readonly Lock _gate = new();

    public static string Key(JsonObject o) => $"{o.Namespace()}/{o.Name()}";

    public Task RunAsync(CancellationToken cancellationToken) =>
        Task.WhenAll([.. sources.Select(s => WatchAsync(s, cancellationToken)), WorkAsync(cancellationToken)]);

    private async Task WatchAsync(ReconcileSource source, CancellationToken cancellationToken)
    {
        using var watch = store.Watch(source.Resource);
        await foreach (var change in watch.ReadAllAsync(cancellationToken))
        {
            if (change.Type is WatchEventType.Bookmark or WatchEventType.Error) continue;
            foreach (var key in source.Keys(change.Object)) Enqueue(key);
        }
    }

    private async Task WorkAsync(CancellationToken cancellationToken)
    {
        await foreach (var key in _queue.Reader.ReadAllAsync(cancellationToken))
        {
            lock (_gate) _queued.Remove(key);
            if (Look(key) is { } again) _ = EnqueueLaterAsync(key, again, cancellationToken);
        }
    }

    private TimeSpan? Look(string key)
    {
        var slash = key.IndexOf('/');
        try
        {
            return reconcile(key[..slash], key[(slash + 1)..]);
        }
        catch (ApiException)
        {
            return s_retry;   // changed or gone meanwhile, or refused; the object's own conditions say what an author must know
        }
        catch (Exception broken) when (broken is InvalidOperationException or FormatException or ArgumentException or NullReferenceException)
        {
            // One object that cannot be understood does not stop the others.
            report($"{name}: {key}: {broken.Message}");
            return null;
        }
    }

    private void Enqueue(string key)
    {
        lock (_gate)
        {
            if (_queued.Add(key)) _queue.Writer.TryWrite(key);
        }
    }

    private async Task EnqueueLaterAsync(string key, TimeSpan after, CancellationToken cancellationToken)
    {
        try
        {
            await Task.Delay(after, store.Clock, cancellationToken);
            Enqueue(key);
        }
        catch (OperationCanceledException)
        {
            // The lab ends.
        }
    }
}
