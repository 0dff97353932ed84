namespace AmbientMesh.ControlPlane.Collections;

/// <summary>Which inputs of one derived collection looked at what, and so which must be computed again after a batch.</summary>
internal sealed class DependencyRecorder<TInput>(string owner, int ownerOrder, CollectionGraph graph) : FetchContext where TInput : notnull
{
    private readonly Dictionary<object, IReaders> _readers = [];                        // by the collection or index looked into
    private readonly Dictionary<TInput, List<(IReaders Readers, object Lookup)>> _looks = [];
    private List<(IReaders Readers, object Lookup)>? _current;
    private TInput _input = default!;

    /// <summary>Starts recording for <paramref name="input"/>; what it looked at before is forgotten.</summary>
    public void Begin(TInput input)
    {
        Forget(input);
        _input = input;
        _current = [];
    }

    public void End()
    {
        if (_current is { Count: > 0 }) _looks[_input] = _current;
        _current = null;
    }

    public void Forget(TInput input)
    {
        if (!_looks.Remove(input, out var looks)) return;
        foreach (var (readers, lookup) in looks) readers.Remove(lookup, input);
    }

    /// <summary>Adds to <paramref name="dirty"/> every input that looked at something the batch under way changed.</summary>
    public void CollectAffected(HashSet<TInput> dirty)
    {
        foreach (var readers in _readers.Values) readers.CollectAffected(dirty);
    }

    public override TValue? Get<TKey, TValue>(Collection<TKey, TValue> from, TKey key) where TValue : class
    {
        Record(from, from, key, null, static collection => ((Collection<TKey, TValue>)collection).Changes.Select(c => (c.Key, c)));
        return from.Find(key);
    }

    public override IReadOnlyList<TValue> Lookup<TIndexKey, TKey, TValue>(Index<TIndexKey, TKey, TValue> index, TIndexKey key, Func<TValue, bool>? where = null)
    {
        Record(index, index.Collection, key, where, static source =>
        {
            var index = (Index<TIndexKey, TKey, TValue>)source;
            return index.Collection.Changes.SelectMany(c => index.KeysTouchedBy(c).Select(k => (k, c)));
        });
        var found = index.Lookup(key);
        return where is null ? found : [.. found.Where(where)];
    }

    private void Record<TLookup, TKey, TValue>(
        object source, Collection<TKey, TValue> collection, TLookup lookup, Func<TValue, bool>? where, Func<object, IEnumerable<(TLookup, Change<TKey, TValue>)>> changes)
        where TLookup : notnull
        where TKey : notnull, IComparable<TKey>
        where TValue : class
    {
        if (_current is null) throw new InvalidOperationException($"Collection {owner}: a fetch context was used after its transformation had returned.");
        if (collection.Graph != graph || collection.Order >= ownerOrder)
            throw new InvalidOperationException($"Collection {owner} fetches from {collection.Name}, which is not an earlier collection of the same graph.");
        if (!_readers.TryGetValue(source, out var readers)) _readers[source] = readers = new Readers<TLookup, TKey, TValue>(source, changes);
        ((Readers<TLookup, TKey, TValue>)readers).Add(lookup, _input, where);
        _current.Add((readers, lookup));
    }

    private interface IReaders
    {
        void Remove(object lookup, TInput input);
        void CollectAffected(HashSet<TInput> dirty);
    }

    /// <summary>The inputs that looked into one collection or index, by the key they looked under.</summary>
    private sealed class Readers<TLookup, TKey, TValue>(object source, Func<object, IEnumerable<(TLookup, Change<TKey, TValue>)>> changes) : IReaders
        where TLookup : notnull
        where TValue : class
    {
        private readonly Dictionary<TLookup, Dictionary<TInput, List<Func<TValue, bool>?>>> _byLookup = [];

        public void Add(TLookup lookup, TInput input, Func<TValue, bool>? where)
        {
            if (!_byLookup.TryGetValue(lookup, out var inputs)) _byLookup[lookup] = inputs = [];
            if (!inputs.TryGetValue(input, out var filters)) inputs[input] = filters = new List<Func<TValue, bool>?>(1);
            filters.Add(where);
        }

        public void Remove(object lookup, TInput input)
        {
            if (!_byLookup.TryGetValue((TLookup)lookup, out var inputs)) return;
            inputs.Remove(input);
            if (inputs.Count == 0) _byLookup.Remove((TLookup)lookup);
        }

        public void CollectAffected(HashSet<TInput> dirty)
        {
            foreach (var (lookup, change) in changes(source))
            {
                if (!_byLookup.TryGetValue(lookup, out var inputs)) continue;
                foreach (var (input, filters) in inputs)
                    if (!dirty.Contains(input) && filters.Exists(f => Concerns(f, change))) dirty.Add(input);
            }
        }

        private static bool Concerns(Func<TValue, bool>? filter, Change<TKey, TValue> change) =>
            filter is null || (change.Old is not null && filter(change.Old)) || (change.New is not null && filter(change.New));
    }
}
