namespace AmbientMesh.ControlPlane.Collections;

internal interface IIndex<TKey, TValue> where TValue : class
{
    void Apply(Change<TKey, TValue> change);
}

/// <summary>A second way into a collection: from a key computed of each value to the values that have it.</summary>
public sealed class Index<TIndexKey, TKey, TValue> : IIndex<TKey, TValue>
    where TIndexKey : notnull
    where TKey : notnull, IComparable<TKey>
    where TValue : class
{
    private readonly Dictionary<TIndexKey, SortedList<TKey, TValue>> _entries = [];
    private readonly Func<TValue, IEnumerable<TIndexKey>> _keysOf;

    internal Index(Collection<TKey, TValue> collection, string name, Func<TValue, IEnumerable<TIndexKey>> keysOf)
    {
        Collection = collection;
        Name = name;
        _keysOf = keysOf;
    }

    public string Name { get; }
    internal Collection<TKey, TValue> Collection { get; }

    /// <summary>The values under <paramref name="key"/>, ordered by their own keys so that results do not depend on history.</summary>
    public IReadOnlyList<TValue> Lookup(TIndexKey key) => _entries.TryGetValue(key, out var found) ? [.. found.Values] : [];

    /// <summary>Every index key that the change takes a value from or gives one to.</summary>
    internal IEnumerable<TIndexKey> KeysTouchedBy(Change<TKey, TValue> change) =>
        (change.Old is null ? [] : _keysOf(change.Old)).Concat(change.New is null ? [] : _keysOf(change.New)).Distinct();

    void IIndex<TKey, TValue>.Apply(Change<TKey, TValue> change) => Apply(change);

    internal void Apply(Change<TKey, TValue> change)
    {
        if (change.Old is not null)
            foreach (var key in _keysOf(change.Old)) Remove(key, change.Key);
        if (change.New is not null)
            foreach (var key in _keysOf(change.New)) Put(key, change.Key, change.New);
    }

    private void Remove(TIndexKey indexKey, TKey key)
    {
        if (!_entries.TryGetValue(indexKey, out var entries)) return;   // keysOf may name a key twice
        entries.Remove(key);
        if (entries.Count == 0) _entries.Remove(indexKey);
    }

    private void Put(TIndexKey indexKey, TKey key, TValue value)
    {
        if (!_entries.TryGetValue(indexKey, out var entries)) _entries[indexKey] = entries = new SortedList<TKey, TValue>(capacity: 1);
        entries[key] = value;
    }
}
