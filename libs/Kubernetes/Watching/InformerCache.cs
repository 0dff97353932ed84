using System.Threading.Channels;

namespace AmbientMesh.Kubernetes;

/// <summary>What a <see cref="Change{T}"/> is.</summary>
public enum ChangeKind
{
    Added,
    Modified,
    Deleted,
    /// <summary>Everything there was at the first list has been told; neither state is set.</summary>
    Synced,
}

/// <summary>One step of an informer's cache.</summary>
/// <param name="Before">The state until now; null for <see cref="ChangeKind.Added"/>.</param>
/// <param name="After">The state from now on; null for <see cref="ChangeKind.Deleted"/>.</param>
public readonly record struct Change<T>(ChangeKind Kind, ObjectKey Key, T? Before, T? After) where T : class;

/// <summary>The objects an informer knows, its indexes and subscribers, changed under one lock so that all tell the same story in the same order.</summary>
internal sealed class InformerCache<T>(ObjectKind<T> kind) where T : class
{
    private readonly Lock _gate = new();
    private readonly Dictionary<ObjectKey, T> _objects = [];
    private readonly List<IInformerIndex<T>> _indexes = [];
    private readonly List<ChannelWriter<Change<T>>> _subscribers = [];
    private bool _synced;
    private bool _completed;

    public T? Get(ObjectKey key)
    {
        lock (_gate) return _objects.GetValueOrDefault(key);
    }

    public IReadOnlyList<T> Items
    {
        get { lock (_gate) return [.. _objects.Values]; }
    }

    public InformerIndex<TKey, T> AddIndex<TKey>(Func<T, IEnumerable<TKey>> keysOf) where TKey : notnull
    {
        lock (_gate)
        {
            var index = new InformerIndex<TKey, T>(_gate, keysOf);
            foreach (var (key, o) in _objects) ((IInformerIndex<T>)index).Change(key, null, o);
            _indexes.Add(index);
            return index;
        }
    }

    public int Subscriptions
    {
        get { lock (_gate) return _subscribers.Count; }
    }

    public ChannelReader<Change<T>> Subscribe(CancellationToken until)
    {
        var channel = Channel.CreateUnbounded<Change<T>>(new UnboundedChannelOptions { SingleReader = true });
        lock (_gate)
        {
            foreach (var (key, o) in _objects) channel.Writer.TryWrite(new Change<T>(ChangeKind.Added, key, null, o));
            if (_synced) channel.Writer.TryWrite(new Change<T>(ChangeKind.Synced, default, null, null));
            if (_completed) channel.Writer.Complete();
            else _subscribers.Add(channel.Writer);
        }
        until.UnsafeRegister(_ => Unsubscribe(channel.Writer), null);
        return channel.Reader;
    }

    private void Unsubscribe(ChannelWriter<Change<T>> subscriber)
    {
        lock (_gate) _subscribers.Remove(subscriber);
        subscriber.TryComplete();
    }

    public void Set(T o)
    {
        lock (_gate) SetLocked(kind.KeyOf(o), o);
    }

    public void Remove(T o)
    {
        lock (_gate) RemoveLocked(kind.KeyOf(o), o);
    }

    /// <summary>Takes over a whole list: what is new or changed is told, what is missing is told as deleted with its last known state.</summary>
    /// <param name="kept">Objects which exist but could not be read: their last readable state stays.</param>
    public void Replace(IReadOnlyList<T> list, IReadOnlyList<UnreadableObject> kept)
    {
        lock (_gate)
        {
            var present = new HashSet<ObjectKey>(list.Count + kept.Count);
            foreach (var unreadable in kept) present.Add(unreadable.Key);
            foreach (var o in list) present.Add(kind.KeyOf(o));
            foreach (var (key, last) in _objects.Where(known => !present.Contains(known.Key)).ToList()) RemoveLocked(key, last);
            foreach (var o in list) SetLocked(kind.KeyOf(o), o);
            if (_synced) return;
            _synced = true;
            Tell(new Change<T>(ChangeKind.Synced, default, null, null));
        }
    }

    public void Complete()
    {
        lock (_gate)
        {
            _completed = true;
            foreach (var subscriber in _subscribers) subscriber.TryComplete();
            _subscribers.Clear();
        }
    }

    private void SetLocked(ObjectKey key, T o)
    {
        var before = _objects.GetValueOrDefault(key);
        if (before is not null && kind.VersionOf(before) is { Length: > 0 } version && version == kind.VersionOf(o)) return;
        _objects[key] = o;
        foreach (var index in _indexes) index.Change(key, before, o);
        Tell(new Change<T>(before is null ? ChangeKind.Added : ChangeKind.Modified, key, before, o));
    }

    private void RemoveLocked(ObjectKey key, T last)
    {
        if (!_objects.Remove(key, out var before)) return;
        foreach (var index in _indexes) index.Change(key, before, null);
        Tell(new Change<T>(ChangeKind.Deleted, key, last, null));
    }

    private void Tell(Change<T> change)
    {
        foreach (var subscriber in _subscribers) subscriber.TryWrite(change);
    }
}

internal interface IInformerIndex<in T>
{
    void Change(ObjectKey key, T? before, T? after);
}

/// <summary>Finds an informer's objects by a derived key. Thread-safe.</summary>
public sealed class InformerIndex<TKey, T> : IInformerIndex<T> where TKey : notnull where T : class
{
    private readonly Lock _gate;
    private readonly Func<T, IEnumerable<TKey>> _keysOf;
    private readonly Dictionary<TKey, Dictionary<ObjectKey, T>> _objects = [];

    internal InformerIndex(Lock gate, Func<T, IEnumerable<TKey>> keysOf) => (_gate, _keysOf) = (gate, keysOf);

    /// <summary>The objects under a key now, in no order; empty when there are none.</summary>
    public IReadOnlyList<T> this[TKey key]
    {
        get { lock (_gate) return _objects.TryGetValue(key, out var found) ? [.. found.Values] : []; }
    }

    void IInformerIndex<T>.Change(ObjectKey key, T? before, T? after)
    {
        if (before is not null)
            foreach (var old in _keysOf(before))
                if (_objects.TryGetValue(old, out var group) && group.Remove(key) && group.Count == 0) _objects.Remove(old);
        if (after is null) return;
        foreach (var now in _keysOf(after))
        {
            if (!_objects.TryGetValue(now, out var group)) _objects[now] = group = [];
            group[key] = after;
        }
    }
}
