using System.Text.Json.Nodes;
using System.Threading.Channels;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Api.Storage;

public enum WatchEventType
{
    Added,
    Modified,
    Deleted,
    /// <summary>Only the resourceVersion counts.</summary>
    Bookmark,
    /// <summary>The object is a <c>Status</c>; the watch ends.</summary>
    Error,
}

/// <summary>One event of a watch. The object is shared and must not be changed.</summary>
public sealed record WatchEvent(WatchEventType Type, JsonObject Object, long ResourceVersion);

/// <summary>What a watch or list selects.</summary>
/// <param name="Namespace">Null for all namespaces.</param>
public sealed record Selection(string? Namespace = null, LabelSelector? Labels = null, FieldSelector? Fields = null)
{
    public static Selection All { get; } = new();

    public bool Matches(JsonObject o) =>
        (Namespace is null || o.Namespace() == Namespace) && (Labels?.Matches(o) ?? true) && (Fields?.Matches(o) ?? true);
}

/// <summary>One write as storage keeps it: <see cref="After"/> is null for a removal, whose last state is <see cref="Before"/>.</summary>
public sealed record Change(GroupResource Resource, long Revision, JsonObject? Before, JsonObject? After)
{
    public JsonObject Object => After ?? Before!;
}

/// <summary>A running watch; dispose to end it. Events come in the order of their resourceVersion.</summary>
public sealed class WatchStream : IDisposable
{
    private const int QueueLimit = 20_000;
    private readonly Channel<WatchEvent> _events = Channel.CreateUnbounded<WatchEvent>(new UnboundedChannelOptions { SingleReader = true });
    private readonly Selection _selection;
    private readonly Action<WatchStream> _unsubscribe;
    private readonly Func<WatchStream, long> _bookmark;
    private int _queued;

    internal WatchStream(Selection selection, long after, Action<WatchStream> unsubscribe, Func<WatchStream, long> bookmark)
    {
        _selection = selection;
        After = after;
        _unsubscribe = unsubscribe;
        _bookmark = bookmark;
    }

    /// <summary>Changes up to this revision are not shown.</summary>
    internal long After { get; }

    /// <summary>Completes when the watch ends.</summary>
    public ChannelReader<WatchEvent> Events => _events.Reader;

    /// <summary>Awaits events until the watch ends or <paramref name="cancellationToken"/> fires.</summary>
    public async IAsyncEnumerable<WatchEvent> ReadAllAsync([System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await foreach (var e in _events.Reader.ReadAllAsync(cancellationToken))
        {
            Interlocked.Decrement(ref _queued);
            yield return e;
        }
    }

    /// <summary>Queues a bookmark behind all events so far.</summary>
    public void RequestBookmark() => _bookmark(this);

    public void Dispose()
    {
        _unsubscribe(this);
        _events.Writer.TryComplete();
    }

    internal void Push(WatchEvent e)
    {
        if (Interlocked.Increment(ref _queued) > QueueLimit)
        {
            // A reader this far behind must list again, as after a gap in the history.
            _events.Writer.TryWrite(new WatchEvent(WatchEventType.Error, ApiErrors.Expired($"too old resource version: {e.ResourceVersion}").Status, e.ResourceVersion));
            Dispose();
            return;
        }
        _events.Writer.TryWrite(e);
    }

    internal void End() => _events.Writer.TryComplete();

    internal void Show(Change change)
    {
        if (change.Revision > After && Translate(change, _selection) is { } e) Push(e);
    }

    /// <summary>The event a selection sees of a change: entering it is ADDED, leaving it DELETED.</summary>
    internal static WatchEvent? Translate(Change change, Selection selection)
    {
        var was = change.Before is not null && selection.Matches(change.Before);
        var isNow = change.After is not null && selection.Matches(change.After);
        return (was, isNow) switch
        {
            (false, true) => new WatchEvent(WatchEventType.Added, change.After!, change.Revision),
            (true, true) => new WatchEvent(WatchEventType.Modified, change.After!, change.Revision),
            (true, false) => new WatchEvent(WatchEventType.Deleted, WithRevision(change.Before!, change.Revision), change.Revision),
            _ => null,
        };
    }

    private static JsonObject WithRevision(JsonObject last, long revision)
    {
        var copy = last.Copy();
        copy.Metadata()["resourceVersion"] = revision.ToString();
        return copy;
    }
}
