using System.Diagnostics.CodeAnalysis;

namespace AmbientMesh.ControlPlane.Collections;

/// <summary>A keyed set that knows what each batch changed in it. Sources are written to; all others follow from their inputs.</summary>
/// <remarks>Belongs to one <see cref="CollectionGraph"/> and is read and written only on that graph's thread.</remarks>
public abstract class Collection<TKey, TValue> : ICollectionNode
    where TKey : notnull, IComparable<TKey>
    where TValue : class
{
    private readonly Dictionary<TKey, TValue> _items = [];
    private readonly Dictionary<TKey, TValue?> _before = [];   // keys touched by this batch, with what they held before it
    private readonly List<Change<TKey, TValue>> _changes = [];
    private readonly List<IIndex<TKey, TValue>> _indexes = [];
    private readonly List<Action<IReadOnlyList<Change<TKey, TValue>>>> _subscribers = [];
    private readonly IEqualityComparer<TValue> _sameValue;

    private protected Collection(CollectionGraph graph, string name, IEqualityComparer<TValue>? sameValue)
    {
        Graph = graph;
        Name = name;
        _sameValue = sameValue ?? EqualityComparer<TValue>.Default;
        Order = graph.Add(this);
    }

    /// <summary>For logs and the debug pages.</summary>
    public string Name { get; }

    public int Count => _items.Count;

    public IEnumerable<KeyValuePair<TKey, TValue>> Items => _items;

    internal CollectionGraph Graph { get; }

    /// <summary>Place in the order of computation; a transformation may fetch only from collections before its own.</summary>
    internal int Order { get; }

    /// <summary>What the batch under way changed here; empty before this collection was settled and between batches.</summary>
    internal IReadOnlyList<Change<TKey, TValue>> Changes => _changes;

    public TValue? Find(TKey key) => _items.GetValueOrDefault(key);

    public bool TryFind(TKey key, [NotNullWhen(true)] out TValue? value) => _items.TryGetValue(key, out value);

    /// <summary>Keeps the values reachable by the keys that <paramref name="keysOf"/> gives for them (none, one or several).</summary>
    public Index<TIndexKey, TKey, TValue> IndexBy<TIndexKey>(string name, Func<TValue, IEnumerable<TIndexKey>> keysOf) where TIndexKey : notnull
    {
        var index = new Index<TIndexKey, TKey, TValue>(this, name, keysOf);
        foreach (var (key, value) in _items) index.Apply(new Change<TKey, TValue>(key, null, value));
        _indexes.Add(index);
        return index;
    }

    /// <summary>Calls <paramref name="subscriber"/> after each batch that changed this collection, on the graph's thread, when all collections have settled.</summary>
    public void Subscribe(Action<IReadOnlyList<Change<TKey, TValue>>> subscriber) => _subscribers.Add(subscriber);

    /// <summary>Puts or removes (null) one item of the batch under way; a value equal to the one held is no change.</summary>
    private protected void Write(TKey key, TValue? value)
    {
        var held = _items.GetValueOrDefault(key);
        if (held is null && value is null) return;
        if (held is not null && value is not null && _sameValue.Equals(held, value))
        {
            _items[key] = value;   // the newest of equal values is kept: it may know more, e.g. which generation of an object it follows from
            return;
        }
        _before.TryAdd(key, held);
        if (value is null) _items.Remove(key);
        else _items[key] = value;
    }

    private protected abstract void Recompute();

    void ICollectionNode.Settle()
    {
        Recompute();
        foreach (var (key, before) in _before)
        {
            var after = _items.GetValueOrDefault(key);
            if (before is null ? after is null : after is not null && _sameValue.Equals(before, after)) continue;
            var change = new Change<TKey, TValue>(key, before, after);
            _changes.Add(change);
            foreach (var index in _indexes) index.Apply(change);
        }
        _before.Clear();
    }

    void ICollectionNode.Publish()
    {
        if (_changes.Count == 0) return;
        foreach (var subscriber in _subscribers) subscriber(_changes);
    }

    void ICollectionNode.EndBatch() => _changes.Clear();
}
